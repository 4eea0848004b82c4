// All fuzz targets.
#pragma once

#include <string_view>

#include "tests/fuzz/cifar.h"
#include "tests/fuzz/csv.h"
#include "tests/fuzz/hdf5.h"
#include "tests/fuzz/idx.h"
#include "tests/fuzz/npy.h"
#include "tests/fuzz/npz.h"
#include "tests/fuzz/recognise.h"
#include "tests/fuzz/safetensors.h"
#include "tests/fuzz/text.h"
#include "tests/fuzz/tokenizer.h"

namespace lockstep::fuzz {

struct NamedTarget {
  std::string_view name;
  Target run;
};

inline constexpr NamedTarget kTargets[] = {
    {"cifar", fuzz_cifar},          //
    {"csv", fuzz_csv},              //
    {"hdf5", fuzz_hdf5},            //
    {"idx", fuzz_idx},              //
    {"npy", fuzz_npy},              //
    {"npz", fuzz_npz},              //
    {"recognise", fuzz_recognise},  //
    {"safetensors", fuzz_safetensors},  //
    {"text", fuzz_text},            //
    {"tokenizer", fuzz_tokenizer},
};

}  // namespace lockstep::fuzz
