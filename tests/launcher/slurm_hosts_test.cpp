// The hosts of a Slurm job.
#include "launcher/slurm_hosts.h"

#include <gtest/gtest.h>

namespace lockstep {
namespace {

std::string listed(const std::string& nodes, const std::string& tasks) {
  return for_mpirun(slurm_hosts(nodes, tasks));
}

TEST(SlurmHosts, NodesAreCountedOut) {
  EXPECT_EQ(listed("n1", "4"), "n1:4");
  EXPECT_EQ(listed("n[1-3,7],gpu-2", "4(x3),2(x2)"), "n1:4,n2:4,n3:4,n7:2,gpu-2:2");
  EXPECT_EQ(listed("a[08-11]-ib,b", "1(x5)"), "a08-ib:1,a09-ib:1,a10-ib:1,a11-ib:1,b:1");
  EXPECT_EQ(listed("n[1-2]", "2,1"), "n1:2,n2:1");
}

TEST(SlurmHosts, WithoutTheirTasksTheirCoresCount) {
  EXPECT_EQ(listed("n[1-2]", ""), "n1:auto,n2:auto");
  EXPECT_EQ(listed("n[1-2]", "4"), "n1:auto,n2:auto");
  EXPECT_EQ(listed("n[1-2]", "4(y2)"), "n1:auto,n2:auto");
}

TEST(SlurmHosts, WhatIsNoListHasNoHosts) {
  for (const char* nodes : {"", "n[", "n[]", "n[1-", "n[x]", "n[3-1]", "n[1-2]r[1-2]", "n1,,n2", "n]", "n[0-99999999999]"}) {
    EXPECT_EQ(listed(nodes, "1"), "") << nodes;
  }
}

}  // namespace
}  // namespace lockstep
