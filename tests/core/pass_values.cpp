#include "tests/core/pass_values.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/device/cpu_device.h"
#include "tests/core/random_graph.h"
#include "tests/core/run_graph.h"
#include "tests/core/toy_ops.h"

namespace lockstep::testing {

void expect_equal_values(const Graph& before, const Graph& after, double tolerance) {
  after.verify();
  const KernelRegistry registry = toy_registry();
  CpuDevice device;
  const auto feeds = random_feeds(before, 1);
  const auto expected = run_graph(before, registry, device, feeds);
  const auto found = run_graph(after, registry, device, feeds);
  ASSERT_EQ(expected.size(), found.size());
  for (const auto& [name, values] : expected) {
    ASSERT_TRUE(found.contains(name)) << name;
    if (tolerance == 0) {
      EXPECT_EQ(values, found.at(name)) << name << " of\n" << after.to_string();
      continue;
    }
    ASSERT_EQ(values.size(), found.at(name).size()) << name;
    double largest = 0;
    for (const double value : values) largest = std::max(largest, std::abs(value));
    for (std::size_t i = 0; i < values.size(); ++i) {
      EXPECT_NEAR(values[i], found.at(name)[i], tolerance * largest) << name << "[" << i << "]";
    }
  }
}

}  // namespace lockstep::testing
