// The ranks compare what must be equal once, before step 0.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/base/error.h"
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

// An error that every rank knows and throws: rank 0 tells it, the others need not.
class SharedError : public Error {
 public:
  using Error::Error;
};

// Runs `body`, which does not communicate, on every rank. If it throws an Error on any rank, every rank throws a
// SharedError: the common message, or that of the lowest rank that failed, with its number.
void together(Communicator& communicator, const std::function<void()>& body);

}  // namespace lockstep
