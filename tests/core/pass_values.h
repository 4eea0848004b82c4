// What the tests of the passes share.
#pragma once

#include <string>

#include "core/graph/graph.h"

namespace lockstep::testing {

// Runs both graphs on the same random values by the reference interpreter; every output and state
// must differ by at most `tolerance` of the largest value. Failures are GoogleTest failures.
void expect_equal_values(const Graph& before, const Graph& after, double tolerance = 0);

}  // namespace lockstep::testing
