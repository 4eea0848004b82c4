// The exchange through the host between processes, which borrow each other's staging memory, and share a GPU where there is one:
// run under mpirun, with the device (emulated, cuda). Ends with 1 where a bit differs from the CPU's.
#include <cstdio>

#include "core/device/cpu_device.h"
#include "dist/exchange_staged.h"
#include "dist/mpi_communicator.h"
#include "tests/dist/exchange_cases.h"
#include "tests/test_device.h"

int main(int count, char** words) {
  using namespace lockstep;
  testing::choose_test_device(count == 2 ? words[1] : "emulated");
  constexpr double kDeadline = 60;
  const auto communicator = make_mpi_communicator(kDeadline);
  if (communicator->size() < 2 || communicator->heap() == nullptr) {
    std::fprintf(stderr, "expected several workers of one node under mpirun\n");
    return 1;
  }
  const std::unique_ptr<Device> gpu = testing::make_test_device();
  CpuDevice host(1, communicator->heap());
  KernelRegistry staged, cpu;
  register_exchange_staged(staged, *communicator, *gpu);
  register_exchange_cpu(cpu, *communicator);
  int wrong = 0, compared = 0;
  for (std::uint32_t seed = 0; seed < 2000; ++seed) {
    testing::Split split = testing::random_split(seed);
    if (split.world != communicator->size()) continue;
    split.nodes = communicator->nodes();
    for (const testing::ExchangeKind kind : testing::kExactKinds) {
      const auto one = testing::exchange_case(kind, split, communicator->rank());
      const auto expected = testing::run_exchange(cpu, host, one);
      ++compared;
      if (testing::same_bits(testing::run_exchange(staged, *gpu, one), expected)) continue;
      ++wrong;
      std::fprintf(stderr, "rank %d, seed %u: other bits than the CPU: %s\n", communicator->rank(), seed,
                   one.op->to_string().c_str());
    }
  }
  barrier(*communicator, "end of the test");
  return wrong > 0 || compared < 100 ? 1 : 0;
}
