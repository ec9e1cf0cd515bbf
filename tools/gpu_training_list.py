"""The trainings that take a GPU: the documented commands with the papers' networks. What a training is stands in
`training_list`; the folder of the data sets is laid out as each package's README says.
"""

from oodgen_training_list import CLASSIFIER, VAE
from training import Training

ON_A_GPU = (
    Training(
        "imood_gpu_cifar10_lt",
        "imood",
        "the documented training on CIFAR10-LT and its test",
        "ResNet18, 180 epochs, batches of 256",
        "the same",
        None,
        (
            "train.py --gpu 0 --ds cifar10 --e 180 --drp {data} --imbalance_ratio .01 --logit_adjust 1.0 "
            "--ood_metric ada_bin_disc --Lambda 0.5 --Lambda2 0.05 --aux_ood_loss pascl --output-dir {own}/run "
            "--seed 0",
            "test.py --gpu 0 --ds cifar10 --model ResNet18 --drp {data} --ood_metric bin_disc --ckpt_path {own}/run "
            "--output-dir {own}",
        ),
        keep="gpu-cifar10_lt.json",
        needs=(
            "cifar-10-batches-py|cifar-10-python.tar.gz",
            "SCOOD/data/imglist/benchmark_cifar10",
            "tinyimages80m|tinyimages80M",
        ),
    ),
    Training(
        "ascood_gpu_cifar10",
        "ascood",
        "the script's training on CIFAR-10",
        "ResNet18, 100 epochs",
        "the same",
        None,
        (
            "main.py --config configs/datasets/cifar10/cifar10.yml configs/networks/ascood_net.yml "
            "configs/pipelines/train/train_ascood.yml configs/preprocessors/ascood_preprocessor.yml "
            "--network.backbone.name resnet18_32x32 --optimizer.num_epochs 100 --data-dir {data} "
            "--output-dir {own}/run/s0 --seed 0",
            "scripts/eval_ood.py --id-data cifar10 --wrapper-net ASCOODNet --root {own}/run --postprocessor scale "
            "--data-dir {data} --save-csv --save-score",
        ),
        "run/s0/results/scale/result.json",
        "gpu-cifar10.json",
        needs=("benchmark_imglist/cifar10", "images_classic"),
    ),
    Training(
        "know_your_space_gpu_bloodmnist",
        "know_your_space",
        "the two documented commands on BloodMNIST",
        "WRN-40-2, 100 epochs",
        "the same",
        None,
        (
            "train_in_latent_out_pix.py --in_dataset bloodmnist --model_type wrn --dist --augmix --rand_conv "
            "--ckpt_name in_latent_out_pix --data-dir {data} --output-dir {own} --seed 0",
            "ood_detection.py --in_dataset bloodmnist --model_type wrn --dir_name in_latent_out_pix --data-dir {data} "
            "--output-dir {own}",
        ),
        "logs/wrn/bloodmnist/in_latent_out_pix/result.json",
        "gpu-bloodmnist.json",
        needs=("bloodmnist|bloodmnist.npz|medmnist/bloodmnist.npz",),
    ),
    Training(
        "oodgen_gpu_mnist",
        "oodgen",
        "the five documented commands on MNIST, Fashion-MNIST as OOD",
        "the documented networks, 100 and 200 epochs",
        "the same",
        None,
        (
            "-m oodgen prepare mnist {own}/data/mnist --data-dir {data}",
            "-m oodgen prepare fmnist {own}/data/fmnist --data-dir {data}",
            f"-m oodgen train_vae --in_data {{own}}/data/mnist --save_path {{own}}/result {VAE}",
            *(
                f"-m oodgen gen_ood --data {{own}}/data/mnist --dataset {split} --model_epoch 100 "
                "--model_path {own}/result --batch_size 1000 --gpu_id 0 --seed 1"
                for split in ("train", "test")
            ),
            f"-m oodgen train_classi --in_data {{own}}/data/mnist --save_path {{own}}/result {CLASSIFIER}",
            "-m oodgen test --in_data {own}/data/mnist --out_data {own}/data/fmnist --model_path {own}/result "
            "--model_epoch 200 --save_path {own}/result --gpu_id 0 --seed 1",
        ),
        "result/result.json",
        "gpu-mnist.json",
        needs=("MNIST/raw", "FashionMNIST/raw"),
    ),
    Training(
        "mood_dpa_gpu_128",
        "mood_dpa",
        "hard embedded subjects at 128³: three axes on slices of 128 pixels, all voxels of each test volume scored",
        "MOOD data at 256³, 50,000 iterations a stage",
        "small networks, random features, 400 iterations an axis",
        None,
        (
            "benchmarks/compare_hard.py --side 128 --slice-size 128 --subjects 12 --test 5 --steps 400 --seeds 0 "
            "--only random --device auto --work {own}/runs --output {own}/result.json",
        ),
        keep="gpu-subjects_128.json",
        unit="iterations",
    ),
)
