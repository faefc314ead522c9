/* A double of TensorFlow Lite Micro: just what the generated harness uses, recording what it is asked and
 * failing on demand. It computes nothing like a network. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#define TFLITE_SCHEMA_VERSION 3
enum TfLiteStatus { kTfLiteOk, kTfLiteError };
enum TfLiteType { kTfLiteInt8, kTfLiteInt32, kTfLiteInt64, kTfLiteUInt8, kTfLiteFloat32, kTfLiteInt16, kTfLiteBool };
struct TfLiteTensor {
    TfLiteType type;
    size_t bytes;
    union {
        int8_t *int8;
        char *raw;
    } data;
};
struct Double {
    int fail_registration;
    bool fail_allocation, fail_invoke;
    TfLiteType type;
    int version;
    const uint8_t *arena;
    size_t arena_bytes;
    int registered;
};
extern Double tflm;
namespace tflite {
struct Model {
    int version() const { return tflm.version; }
};
inline const Model *GetModel(const void *data) {
    return static_cast<const Model *>(data);
}
struct Resolver {
    TfLiteStatus add() { return ++tflm.registered == tflm.fail_registration ? kTfLiteError : kTfLiteOk; }
};
template <unsigned N> struct MicroMutableOpResolver : Resolver {
    TfLiteStatus AddConv2D() { return add(); }
    TfLiteStatus AddDepthwiseConv2D() { return add(); }
    TfLiteStatus AddMaxPool2D() { return add(); }
    TfLiteStatus AddResizeNearestNeighbor() { return add(); }
};
struct MicroInterpreter {
    TfLiteTensor in, out;
    MicroInterpreter(const Model *, const Resolver &, uint8_t *arena, size_t bytes)
        : in{tflm.type, 14400, {(int8_t *)arena}}, out{kTfLiteInt8, 4800, {(int8_t *)arena}} {
        tflm.arena = arena;
        tflm.arena_bytes = bytes;
    }
    TfLiteStatus AllocateTensors() { return tflm.fail_allocation ? kTfLiteError : kTfLiteOk; }
    size_t inputs_size() const { return 1; }
    size_t outputs_size() const { return 1; }
    TfLiteTensor *input(size_t) { return &in; }
    TfLiteTensor *output(size_t) { return &out; }
    TfLiteStatus Invoke() { // the output lies over the input, as TFLM's plan may have it
        for (size_t i = 0; i < 4800; ++i)
            out.data.int8[i] = (int8_t)~in.data.int8[i];
        return tflm.fail_invoke ? kTfLiteError : kTfLiteOk;
    }
};
} // namespace tflite
