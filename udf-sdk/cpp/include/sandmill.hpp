// Functions for Sandmill in C++: the macros of the C headers, with typed views of the arguments.
// Freestanding C++17, without exceptions, run-time types or a library.
#ifndef SANDMILL_HPP
#define SANDMILL_HPP

#include "sandmill_kinds.h"

namespace sandmill {

// An argument of a fixed width, such as double for DOUBLE.
template <class T> class values {
  public:
    explicit values(const ArrowArray &array)
        : data_(static_cast<const T *>(array.buffers[1])), step_(array.length == 1 ? 0 : 1) {}
    T operator[](uint32_t row) const { return data_[row * step_]; }

  private:
    const T *data_;
    uint32_t step_;
};

// An argument of text or bytes.
class texts {
  public:
    explicit texts(const ArrowArray &array) : bytes_(sm_read_bytes(&array)) {}
    sm_slice operator[](uint32_t row) const { return sm_bytes_at(&bytes_, row); }

  private:
    sm_bytes bytes_;
};

// Gives `value(row)` for each row, of a fixed width.
template <class R, class F> int32_t compute(uint32_t rows, ArrowArray *out, F value) {
    R *result = sm_start_values(R, rows);
    for (uint32_t row = 0; row < rows; row++) result[row] = value(row);
    return sm_finish_values(out, rows);
}

} // namespace sandmill

#endif
