// Plain text: its tokens as one long series x (n), in the smallest type of u8, i16, i32. Windows
// are cut when it is read. x has the attributes `tokenizer` (datasets/import/tokenizer.h) and
// `vocabulary`, the number of different tokens.
//
// Several files follow one another; of a folder, its *.txt files in sorted order. The tokens are
// characters by default, bytes, or byte pairs: learnt from the text itself, or those of another
// dataset or of a file.
#pragma once

#include "datasets/import/format.h"

namespace lockstep {

ImportFormat text_format();

}  // namespace lockstep
