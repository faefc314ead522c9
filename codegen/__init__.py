"""The compiler: a full-int8 .tflite file in, bit-exact C99 out."""

__version__ = "0.1.0"
