// The binary files of CIFAR-10 and CIFAR-100 (A. Krizhevsky, "Learning Multiple Layers of Features
// from Tiny Images", 2009).
//
//   file      = { record }
//   record    = label image              CIFAR-10, 3073 bytes
//             | coarse fine image        CIFAR-100, 3074 bytes
//   image     = red green blue           each 32 rows of 32 bytes
//
// x is u8 (n, 32, 32, 3), channels last; y is u8 (n), of CIFAR-100 the fine label, and y_coarse the
// other. A path is a file, or the folder that the archive unpacks to: its training files, or its
// test file. The names of the classes are read from the texts beside the files.
#pragma once

#include "datasets/import/format.h"

namespace lockstep {

ImportFormat cifar10_format();
ImportFormat cifar100_format();

}  // namespace lockstep
