// The ranks compare what must be equal once, before step 0.
#pragma once

#include <string>
#include <vector>

#include "dist/communicator.h"

namespace lockstep {

// Something all ranks must have in common: what it is, and its value or hash as text.
struct Claim {
  std::string what;   // "configuration"
  std::string value;
};

// Throws bad_input on every rank, naming the first claim that differs, the ranks in the minority, and both values.
// REQUIRES: all ranks pass the same list of claims in the same order.
void agree(Communicator& communicator, const std::vector<Claim>& claims);

}  // namespace lockstep
