// Models whose ONNX files and results in ONNX Runtime are kept in tests/fixtures/onnx: small, and together with every op
// that has a converter.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "launcher/weights/weights.h"
#include "tests/launcher/small_training.h"

namespace lockstep::testing {

struct OnnxCase {
  std::string name;
  std::string toml;
  std::vector<MemoryArray> arrays;  // inputs and target, by samples

  std::unique_ptr<SmallTraining> training() const;
  friend void PrintTo(const OnnxCase& one, std::ostream* out) { *out << one.name; }  // for GoogleTest
};

std::vector<OnnxCase> onnx_cases();

// Hashed numbers for every parameter and statistic of the training; variances are positive.
void set_hashed_weights(Training& training);

// What an export is made of.
Weights weights_of(Training& training);

}  // namespace lockstep::testing
