#include "dist/clock.h"

#include "core/base/progress.h"

namespace lockstep {

std::vector<std::int64_t> clock_shifts(Communicator& communicator) {
  constexpr int kQuestions = 16;
  constexpr const char* kWhat = "comparison of the clocks";
  const int rank = communicator.rank(), world = communicator.size();
  std::vector<double> shifts(static_cast<std::size_t>(world), 0.0);
  for (int peer = 1; peer < world; ++peer) {
    if (rank != 0 && rank != peer) continue;
    std::int64_t fastest = -1;
    for (int i = 0; i < kQuestions; ++i) {
      std::int64_t answer = 0;
      if (rank == 0) {
        const std::int64_t asked = monotonic_nanoseconds();
        const Send question{peer, &asked, sizeof asked};
        communicator.exchange({&question, 1}, {}, kWhat);
        const Receive reply{peer, &answer, sizeof answer};
        communicator.exchange({}, {&reply, 1}, kWhat);
        const std::int64_t took = monotonic_nanoseconds() - asked;
        if (fastest >= 0 && took >= fastest) continue;
        fastest = took;
        shifts[static_cast<std::size_t>(peer)] = static_cast<double>(asked + took / 2 - answer);
      } else {
        const Receive question{0, &answer, sizeof answer};
        communicator.exchange({}, {&question, 1}, kWhat);
        answer = monotonic_nanoseconds();
        const Send reply{0, &answer, sizeof answer};
        communicator.exchange({&reply, 1}, {}, kWhat);
      }
    }
  }
  // Neighbours read one clock: exactly none.
  std::vector<std::int64_t> out;
  const auto all = gather_doubles(communicator, shifts, kWhat);
  for (const double shift : all[0]) out.push_back(static_cast<std::int64_t>(shift));
  const std::vector<int>& nodes = communicator.nodes();
  for (std::size_t r = 0; r < out.size(); ++r) {
    if (nodes[r] == nodes[0]) out[r] = 0;
  }
  return out;
}

}  // namespace lockstep
