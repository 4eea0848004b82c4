// NumPy's files: one array (.npy), or a zip archive of them (.npz).
//
//   npy      = 93 "NUMPY" major minor length header elements
//   length   = 2 bytes (major 1) or 4 bytes (major 2, 3), little-endian
//   header   = a Python dict: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
//   descr    = byte order ('<' little, '>' big, '|' none, '=' little) and type: b1, i1 .. i8,
//              u1 .. u8, f2, f4, f8
//
// The first dimension counts the samples. Types are kept but for bool (u8), u16 (i32), u32 and u64
// (i64; a value beyond it is an error). Arrays in Fortran order are turned around on the way.
//
//   .npy     x, and y of a second file that the option names
//   .npz     all arrays under their names ("arr_0" is x, "arr_1" is y), or x and y as the options
//            choose
#pragma once

#include "datasets/import/format.h"

namespace lockstep {

ImportFormat npy_format();
ImportFormat npz_format();

}  // namespace lockstep
