// IDX files: MNIST and its kin (Y. LeCun, C. Cortes, C. Burges, "The MNIST database").
//
//   file    = 0 0 type rank { extent } { element }
//   type    = 08 u8 | 09 i8 | 0B i16 | 0C i32 | 0D f32 | 0E f64         one byte, hexadecimal
//   rank    = one byte, 1 .. 8
//   extent  = 4 bytes; the first counts the samples
//
// All numbers are big-endian, the elements row-major. gzip may have packed the file.
//
// A file of images becomes x; those of rank 3 get a channel: (n, 28, 28) is (n, 28, 28, 1). The
// labels, y, are in a file of rank 1: that of the option, or the one beside whose name has "labels"
// for "images" and "idx1" for "idx3".
#pragma once

#include "datasets/import/format.h"

namespace lockstep {

ImportFormat idx_format();

}  // namespace lockstep
