// How workers talk: one contract, kept by
//   local_communicator  ranks as threads of one process; the reference in tests
//   mpi_communicator    ranks as processes
// and by the world of one, for which nothing is sent.
//
// Called by one thread a rank. Every wait has a deadline; when it passes, the call throws failed environment
// naming what was exchanged, the ranks that are missing and how long it waited.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lockstep {

struct Send {
  int to = 0;
  const void* data = nullptr;
  std::size_t bytes = 0;
};

struct Receive {
  int from = 0;
  void* data = nullptr;
  std::size_t bytes = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Sends and receives at the same time. Returns when everything has arrived and the memory of the sends may be
  // reused. Messages from one rank to another arrive in the order in which they were sent; sizes of a send and
  // its receive are equal. `what` names the exchange for error messages. Empty messages are left out.
  virtual void exchange(std::span<const Send> sends, std::span<const Receive> receives,
                        const char* what) = 0;
};

// Collectives that need nothing but exchange(). All ranks call them in the same order.

// Rank r's part of `data` lies in bytes [offsets[r], offsets[r + 1]) (size() + 1 offsets); afterwards every rank has
// all parts. Each rank sends its part to every other: (W - 1) / W of the bytes in.
void all_gather(Communicator& communicator, void* data, std::span<const std::size_t> offsets,
                const char* what);
// The doubles of all ranks, by rank; lengths may differ.
std::vector<std::vector<double>> gather_doubles(Communicator& communicator,
                                                const std::vector<double>& mine, const char* what);
// The texts of all ranks, by rank.
std::vector<std::string> gather_texts(Communicator& communicator, const std::string& mine,
                                      const char* what);
// Returns when all ranks have called it.
void barrier(Communicator& communicator, const char* what);

// A world of one.
std::unique_ptr<Communicator> make_single_communicator();

}  // namespace lockstep
