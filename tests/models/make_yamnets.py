"""Make the other two forms of YAMNet out of the one that is at hand.

    python make_yamnets.py YAMNET.tflite FOLDER

YAMNET.tflite is the int8 model YAMNet/classification. With its weights in float32 it writes

- FOLDER/yamnet_full.tflite: what TF Hub's google/yamnet takes and gives. One input, `waveform`,
  float32 [samples], of any length at 16 kHz; outputs `scores` [frames, 521], `embeddings`
  [frames, 1024] and `log_mel_spectrogram` [rows, 64].
- FOLDER/model_maker.tflite: what TensorFlow Lite Model Maker exports with
  keep_yamnet_and_custom_heads. One input, `audio`, float32 [1, 15600]; outputs `scores` [1, 521]
  and `custom` [1, 3], the labels somebody trained; here their weights are random.

The steps are those of `features.py` and `yamnet.py` in
https://github.com/tensorflow/models/tree/master/research/audioset/yamnet. It runs where TensorFlow
is and needs nothing of earmark. The same model gives the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

FRAME_SAMPLES: Final = 15_600
FRAME_HOP_SAMPLES: Final = 7_680
WINDOW_SAMPLES: Final = 400
HOP_SAMPLES: Final = 160
FFT_SAMPLES: Final = 512
MEL_BANDS: Final = 64
PATCH_ROWS: Final = 96
PATCH_HOP_ROWS: Final = 48
CUSTOM_LABELS: Final = 3
CUSTOM_SEED: Final = 1

DTYPES: Final = {
    schema.TensorType.FLOAT32: np.dtype("<f4"),
    schema.TensorType.INT32: np.dtype("<i4"),
    schema.TensorType.INT8: np.dtype("i1"),
}

Array: TypeAlias = NDArray[np.float32]


def main(arguments: Sequence[str]) -> None:
    """Read the int8 model and write both others."""
    yamnet, folder = map(Path, arguments)
    network = read_network(yamnet.read_bytes())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "yamnet_full.tflite").write_bytes(full(network))
    (folder / "model_maker.tflite").write_bytes(model_maker(network))


class Layer(NamedTuple):
    """An operator with weights.

    Attributes:
      operator: its name in the schema.
      weights: float32 [out, in], or a convolution's [out, height, width, in].
      bias: float32 [out].
      options: what else the schema says of it.
    """

    operator: str
    weights: Array
    bias: Array
    options: Any


class Network(NamedTuple):
    """YAMNet's layers in float32.

    Attributes:
      window: float32 [400], what each window of samples is tapered with.
      mel: from 257 magnitudes to 64 bands, with YAMNet's offset as its bias.
      convolutions: from a patch to 1024 maps.
      dense: from an embedding to 521 logits.
    """

    window: Array
    mel: Layer
    convolutions: Sequence[Layer]
    dense: Layer


def full(network: Network) -> bytes:
    """The .tflite file of all that YAMNet gives for a waveform of any length."""

    def outputs(waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        spectrogram = log_mel(network, pad_waveform(waveform))
        patches = tf.signal.frame(spectrogram, PATCH_ROWS, PATCH_HOP_ROWS, axis=0)
        embedded = embeddings(network, patches)
        return {
            "scores": scores(network, embedded),
            "embeddings": embedded,
            "log_mel_spectrogram": spectrogram,
        }

    return _convert("waveform", [None], outputs)


def model_maker(network: Network) -> bytes:
    """The .tflite file of YAMNet with a further head, for one frame."""
    rng = np.random.default_rng(CUSTOM_SEED)
    inputs = network.dense.weights.shape[1]
    head = rng.normal(0.0, 0.1, (inputs, CUSTOM_LABELS)).astype(np.float32)

    def outputs(frame: tf.Tensor) -> dict[str, tf.Tensor]:
        patch = log_mel(network, tf.reshape(frame, [FRAME_SAMPLES]))
        embedded = embeddings(network, patch)
        return {
            "scores": scores(network, embedded),
            "custom": tf.nn.softmax(tf.matmul(embedded, head)),
        }

    return _convert("audio", [1, FRAME_SAMPLES], outputs)


def pad_waveform(waveform: tf.Tensor) -> tf.Tensor:
    """Samples [n] with zeros behind them, so that they are a frame and then whole hops.

    YAMNet's own `pad_waveform` divides in float32. The converter would make that a multiplication
    by 1 / 7680, which gives three whole hops a fourth; integers are exact at any length.
    """
    samples = tf.shape(waveform)[-1]
    beyond = tf.maximum(samples, FRAME_SAMPLES) - FRAME_SAMPLES
    hops = (beyond + FRAME_HOP_SAMPLES - 1) // FRAME_HOP_SAMPLES
    padded = FRAME_SAMPLES + FRAME_HOP_SAMPLES * hops
    return tf.pad(waveform, [[0, padded - samples]])


def log_mel(network: Network, waveform: tf.Tensor) -> tf.Tensor:
    """The log-mel spectrogram [rows, 64] of samples [n]; rows that lack samples are left out."""
    spectra = tf.signal.stft(
        waveform, WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES, lambda length, dtype: network.window
    )
    return tf.math.log(tf.matmul(tf.abs(spectra), network.mel.weights.T) + network.mel.bias)


def embeddings(network: Network, patches: tf.Tensor) -> tf.Tensor:
    """The embeddings [frames, 1024] of patches [frames, 96, 64]."""
    maps = tf.reshape(patches, [-1, PATCH_ROWS, MEL_BANDS, 1])
    for layer in network.convolutions:
        maps = _convolve(layer, maps)
    return tf.reduce_mean(maps, axis=[1, 2])


def scores(network: Network, embedded: tf.Tensor) -> tf.Tensor:
    """The scores [frames, 521] of embeddings [frames, 1024]."""
    return tf.sigmoid(tf.matmul(embedded, network.dense.weights.T) + network.dense.bias)


def read_network(model: bytes) -> Network:
    """The int8 model's layers, in the order of its operators."""
    parsed = schema.ModelT.InitFromPackedBuf(model)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    codes = [max(x.builtinCode, x.deprecatedBuiltinCode) for x in parsed.operatorCodes]
    operators = [(names[codes[x.opcodeIndex]], x) for x in parsed.subgraphs[0].operators]
    (taper,) = (operator for name, operator in operators if name == "MUL")
    mel, *convolutions, dense = (
        Layer(name, *(_constant(parsed, x) for x in operator.inputs[1:]), operator.builtinOptions)
        for name, operator in operators
        if name in ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
    )
    return Network(_constant(parsed, taper.inputs[1]).reshape(-1), mel, convolutions, dense)


def _constant(model: Any, tensor: int) -> Array:
    """A constant's values; the real ones, where the file has them as scale * (value - zero)."""
    described = model.subgraphs[0].tensors[tensor]
    content = bytes(model.buffers[described.buffer].data)
    values = np.frombuffer(content, DTYPES[described.type]).reshape(described.shape)
    quantisation = described.quantization
    if quantisation is None or quantisation.scale is None:
        return values.astype(np.float32)
    along_channels = np.ones(values.ndim, int)
    along_channels[quantisation.quantizedDimension] = -1
    scale = np.asarray(quantisation.scale, np.float64).reshape(along_channels)
    zero = np.asarray(quantisation.zeroPoint).reshape(along_channels)
    return (scale * (values - zero)).astype(np.float32)


def _convolve(layer: Layer, maps: tf.Tensor) -> tf.Tensor:
    """A convolution with padding `SAME` and ReLU6; the int8 model has no others."""
    convolve = tf.nn.conv2d if layer.operator == "CONV_2D" else tf.nn.depthwise_conv2d
    strides = [1, layer.options.strideH, layer.options.strideW, 1]
    assert layer.options.padding == schema.Padding.SAME
    assert layer.options.fusedActivationFunction == schema.ActivationFunctionType.RELU6
    return tf.nn.relu6(
        convolve(maps, layer.weights.transpose(1, 2, 3, 0), strides, "SAME") + layer.bias
    )


def _convert(
    name: str, shape: Sequence[int | None], outputs: Callable[[tf.Tensor], dict[str, tf.Tensor]]
) -> bytes:
    """The .tflite file of a computation, its outputs called and in order as they are given.

    The converters of TensorFlow 2 keep neither: outputs come in any order, under names of theirs.
    """
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        taken = tf.compat.v1.placeholder(tf.float32, shape, name)
        given = [tf.identity(tensor, label) for label, tensor in outputs(taken).items()]
        converter = tf.compat.v1.lite.TFLiteConverter.from_session(session, [taken], given)
        model: bytes = converter.convert()
    return model


if __name__ == "__main__":
    main(sys.argv[1:])
