// Weights from another program.
#pragma once

#include "launcher/weights/safetensors.h"
#include "tests/fuzz/target.h"

namespace lockstep::fuzz {

inline void fuzz_safetensors(const std::string& path) {
  read_or_refuse(path, [&] {
    for (const auto& [name, weight] : read_safetensors(path)) {
      expect(static_cast<std::size_t>(weight.shape.elements()) == weight.values.size(), "\"" + name + "\" has not the elements of its shape");
    }
  });
}

}  // namespace lockstep::fuzz
