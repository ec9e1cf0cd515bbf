"""Networks whose feature maps the fused detector measures: trained here, pretrained, or anyone's.

`backbone` has the object, `choice` the words of `--backbone`; `efficientnet` the pretrained network, `hooked` the maps
of a foreign one, `files` networks in a file of ONNX or TorchScript.
"""
