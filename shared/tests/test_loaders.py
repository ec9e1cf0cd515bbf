"""Device loader: every image once per epoch, the order of the seed, and going on where a run stopped."""

import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ood_shared.errors import InputError
from ood_shared.loaders import DeviceLoader, to_float
from torchvision import transforms


def toy(n):
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1)
    return images, torch.arange(n) % 3


def loader(n=10, batch_size=3, seed=0, **options):
    options.setdefault("shuffle", True)
    return DeviceLoader(*toy(n), batch_size, generator=torch.Generator().manual_seed(seed), **options)


def seen(batches):
    return [indices.tolist() for _, _, indices in batches]


@settings(deadline=None)
@given(n=st.integers(1, 40), batch_size=st.integers(1, 50), shuffle=st.booleans())
def test_an_epoch_has_every_image_once(n, batch_size, shuffle):
    batches = list(loader(n, batch_size, shuffle=shuffle))
    assert sorted(index for batch in seen(batches) for index in batch) == list(range(n))
    assert len(batches) == len(loader(n, batch_size, shuffle=shuffle)) == -(-n // batch_size)


@settings(deadline=None)
@given(n=st.integers(1, 40), batch_size=st.integers(1, 50))
def test_drop_last_leaves_whole_batches_and_at_least_one(n, batch_size):
    batches = list(loader(n, batch_size, drop_last=True))
    assert len(batches) == len(loader(n, batch_size, drop_last=True)) == max(1, n // batch_size)
    assert all(len(labels) == min(n, batch_size) for _, labels, _ in batches)


def test_images_labels_and_indices_belong_together():
    images, labels = toy(50)
    for batch, batch_labels, indices in DeviceLoader(images, labels, 7, True, generator=torch.Generator()):
        assert torch.equal(batch, images[indices])
        assert torch.equal(batch_labels, labels[indices])
        assert batch.dtype == torch.uint8


def test_without_shuffling_the_order_is_that_of_the_set():
    plain = DeviceLoader(*toy(5), 2)
    assert seen(plain) == seen(plain) == [[0, 1], [2, 3], [4]]


def test_batches_may_be_changed_without_changing_the_set():
    images, labels = toy(4)
    for batch, _, _ in DeviceLoader(images, labels, 4):
        batch.zero_()
    assert images.ravel().tolist() == [0, 1, 2, 3]


def test_every_epoch_has_an_order_of_its_own_and_the_seed_decides_it():
    first, again, other = loader(30, 30), loader(30, 30), loader(30, 30, seed=1)
    epochs = [seen(first), seen(first)]
    assert epochs[0] != epochs[1]
    assert epochs == [seen(again), seen(again)]
    assert epochs[0] != seen(other)


def saved(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@settings(deadline=None)
@given(n=st.integers(1, 30), batch_size=st.integers(1, 8), epochs=st.integers(1, 3), data=st.data())
def test_a_stopped_run_goes_on_with_the_next_batch(n, batch_size, epochs, data):
    whole = loader(n, batch_size)
    expected = [seen(whole) for _ in range(epochs + 1)]
    stop = data.draw(st.integers(1, len(whole)))

    stopped = loader(n, batch_size)
    for _ in range(epochs - 1):
        list(stopped)
    state = None
    for number, _ in enumerate(stopped, start=1):
        if number == stop:
            state = saved(stopped.state_dict())
            break

    resumed = loader(n, batch_size, seed=99)
    resumed.load_state_dict(state)
    assert seen(resumed) == expected[epochs - 1][stop:]
    assert seen(resumed) == expected[epochs]


def test_a_run_stopped_between_epochs_goes_on_with_the_next_epoch():
    whole = loader()
    expected = [seen(whole), seen(whole)]
    stopped = loader()
    list(stopped)
    resumed = loader(seed=99)
    resumed.load_state_dict(saved(stopped.state_dict()))
    assert seen(resumed) == expected[1]


def test_a_generator_shared_with_others_is_found_as_it_was():
    def run(stop_after=None, state=None):
        numbers, source = [], loader(12, 4, seed=3 if state is None else 77)
        if state is not None:
            source.load_state_dict(state)
        for _, _, indices in source:
            numbers.append((indices.tolist(), torch.rand((), generator=source.generator).item()))
            if len(numbers) == stop_after:
                return numbers, saved(source.state_dict())
        numbers += [(indices.tolist(), None) for _, _, indices in source]
        return numbers, None

    whole, _ = run()
    start, state = run(stop_after=2)
    rest, _ = run(state=state)
    assert start + rest == whole


def test_a_loop_left_early_starts_anew():
    source = loader()
    for _ in source:
        break
    assert len(seen(source)) == len(source)


def test_unshuffled_loader_resumes_without_a_generator():
    plain, resumed = DeviceLoader(*toy(6), 2), DeviceLoader(*toy(6), 2)
    for _ in plain:
        break
    resumed.load_state_dict(saved(plain.state_dict()))
    assert seen(resumed) == [[2, 3], [4, 5]]


@pytest.mark.parametrize("other", [{"n": 11}, {"batch_size": 4}, {"shuffle": False}, {"drop_last": True}])
def test_state_of_another_loader_is_refused(other):
    with pytest.raises(InputError, match="Resume with the same data and settings"):
        loader(**other).load_state_dict(loader().state_dict())


def test_empty_set_and_empty_batches_are_refused():
    with pytest.raises(InputError, match="no images"):
        DeviceLoader(*toy(0), 4)
    with pytest.raises(InputError, match="batch size is 0"):
        DeviceLoader(*toy(4), 0)


def test_labels_that_do_not_fit_are_refused():
    images, labels = toy(4)
    with pytest.raises((InputError, TypeError), match=r"3 labels|i64"):  # TypeError: jaxtyping's check, when it is on
        DeviceLoader(images, labels[:3], 2)


def test_shuffling_without_a_generator_is_refused():
    with pytest.raises(InputError, match="needs a generator"):
        DeviceLoader(*toy(4), 2, shuffle=True)


def test_to_float_is_bit_equal_to_torchvision():
    images = torch.randint(0, 256, (5, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    mean, std = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    theirs = torch.stack([transform(image.permute(1, 2, 0).numpy()) for image in images])
    assert torch.equal(to_float(images, mean, std), theirs)


def test_to_float_without_statistics_is_the_zero_to_one_scale():
    images = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)
    assert to_float(images).tolist() == [[[[0.0, pytest.approx(0.2), 1.0]]]]
    assert to_float(images, 0.5, 0.5).tolist() == [[[[-1.0, pytest.approx(-0.6), 1.0]]]]


@pytest.mark.parametrize(("mean", "std"), [((0.1, 0.2), 1.0), (0.0, 0.0), (0.0, (1.0, 1.0, -1.0)), (0.0, float("nan"))])
def test_impossible_statistics_are_refused(mean, std):
    with pytest.raises(InputError, match="Cannot normalise 3 channels"):
        to_float(torch.zeros(1, 3, 2, 2, dtype=torch.uint8), mean, std)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_batches_stay_on_the_device_in_the_same_order():
    images, labels = toy(20)
    on_gpu = DeviceLoader(images.to("cuda"), labels.to("cuda"), 6, True, generator=torch.Generator().manual_seed(0))
    batches = list(on_gpu)
    assert all(tensor.is_cuda for batch in batches for tensor in batch)
    assert seen(batches) == seen(loader(20, 6))


def test_an_epoch_of_drawn_indices_is_resumed_where_it_stood() -> None:
    def loader() -> DeviceLoader:
        def draw(generator: torch.Generator) -> torch.Tensor:
            return torch.randint(6, (9,), generator=generator)

        return DeviceLoader(
            torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1),
            torch.arange(6),
            batch_size=4,
            shuffle=True,
            generator=torch.Generator().manual_seed(3),
            draw=draw,
            drawn=9,
        )

    first = loader()
    assert len(first) == 3
    whole = [indices.tolist() for _, _, indices in first]
    second = loader()
    for _ in second:
        state = second.state_dict()
        break
    third = loader()
    third.load_state_dict(state)
    assert [indices.tolist() for _, _, indices in third] == whole[1:]
    assert sum(map(len, whole)) == 9
