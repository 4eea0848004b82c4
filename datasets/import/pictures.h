// Folders of PNG and JPEG pictures, one for each class: x u8 (n, height, width, channels), y i32
// (n) with the folders' names as class_names, numbered in byte order or as the option says.
// Pictures are taken in the order of their paths, from folders within folders too; a folder whose
// pictures lie in no folder of their own has no y. Files and folders whose names begin with a dot,
// and files with other endings than .png, .jpg and .jpeg, are passed over; the latter are counted.
//
// All must have the same size unless they are resized. x has one channel where all pictures are
// grey, else three. Pictures are decoded while they are written.
#pragma once

#include "datasets/import/format.h"

namespace lockstep {

ImportFormat pictures_format();

}  // namespace lockstep
