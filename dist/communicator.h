// How workers talk: one contract, kept by
//   local_communicator  ranks as threads of one process; the reference in tests
//   mpi_communicator    ranks as processes, through shared memory on one node and messages between nodes
// and by the world of one, for which nothing is sent. On a GPU a communicator of NCCL takes this place.
//
// Called by one thread of a rank at a time. Every wait has a deadline; when it passes, the call throws a LateError
// naming what was exchanged, the ranks that are missing and how long it waited. `what` names an exchange in
// messages and must live for ever (a literal). All ranks make the same calls in the same order.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/patience.h"
#include "core/base/progress.h"
#include "core/device/shared_heap.h"

namespace lockstep {

// A wait for other ranks that passed its deadline.
class LateError : public Error {
 public:
  using Error::Error;
};

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

struct Borrow {
  int from = 0;
  std::size_t bytes = 0;
  void* data = nullptr;  // set by borrow(); to be written only where it was lent for that
};

// What neighbours may do with memory that they borrow.
enum class Lending { kRead, kWrite };

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // The node of each rank, numbered in order of its lowest rank. Workers of one node see each other's memory, and may
  // borrow from each other.
  const std::vector<int>& nodes() const { return nodes_; }
  // Where memory that neighbours may borrow has to be taken from; nullptr where any will do.
  virtual SharedHeap* heap() { return nullptr; }

  // Sends and receives at the same time. Returns when everything has arrived and the memory of the sends may be
  // reused. Messages from one rank to another arrive in the order in which they were sent; sizes of a send and
  // its receive are equal. Empty messages are left out.
  void exchange(std::span<const Send> sends, std::span<const Receive> receives, const char* what);

  // Offers memory to neighbours, and finds out where the memory lies that they offer: it is read, or written, in its
  // place. What is offered is left alone until give_back(). REQUIRES: all are on this rank's node; memory offered is the
  // heap's, or at most 4096 bytes to be read; messages match as in exchange(); then comes give_back(), before anything
  // else with neighbours.
  void borrow(std::span<const Send> offers, std::span<Borrow> borrows, const char* what,
              Lending lending = Lending::kRead);
  // What was borrowed is used no more. Returns when the neighbours have said the same.
  void give_back(const char* what);

  // The library's own collectives, in whatever order of summation it likes (train.reduction = "fast"). `offsets`: in
  // elements, by rank, size() + 1. Rank r receives the sum over all ranks of elements [offsets[r], offsets[r + 1]).
  virtual void fast_reduce_scatter(const float* in, float* out, std::span<const std::size_t> offsets,
                                   const char* what);
  // Every rank has its own part of `data` and receives the others.
  virtual void fast_all_gather(float* data, std::span<const std::size_t> offsets, const char* what);

  // `data` becomes the sum over all ranks.
  virtual void fast_all_reduce(float* data, std::size_t count, const char* what);

  // How this rank waits. Whoever waits for an exchange that another thread makes hurries it.
  Patience& patience() { return *patience_; }
  // Who is told of each wait; may be null. `progress` outlives the communicator.
  void report_to(Progress* progress) { progress_ = progress; }

 protected:
  // `deadline` in seconds, for each wait.
  Communicator(std::vector<int> nodes, double deadline, bool may_spin);

  // One exchange or borrow: begins it, and looks whether it is done. `missing` names the ranks it waits for.
  virtual void begin_exchange(std::span<const Send> sends, std::span<const Receive> receives) = 0;
  virtual bool poll_exchange() = 0;
  virtual void begin_borrow(std::span<const Send> offers, std::span<Borrow> borrows, Lending lending) = 0;
  virtual bool poll_borrow() = 0;
  virtual void return_borrowed() = 0;
  virtual bool all_returned() = 0;
  virtual std::string missing() const = 0;

  // Looks until `poll` says true, with the deadline.
  template <typename Poll>
  void wait_for(const Poll& poll, const char* what);

 private:
  [[noreturn]] void fail_late(const char* what, double waited) const;

  std::vector<int> nodes_;
  double deadline_;
  std::unique_ptr<Patience> patience_;
  Progress* progress_ = nullptr;
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

// Copies between cores: plain vector moves, which are faster than memcpy's string moves where the lines lie changed in
// another core's cache.
void copy_floats(float* to, const float* from, std::size_t count);

}  // namespace lockstep
