#include "dist/local_communicator.h"

#include <thread>

#include "dist/neighbours.h"

namespace lockstep {
namespace {

// Threads share their addresses.
class SameAddresses final : public SharedMemoryView {
 public:
  bool locate(const void* data, SharedRef& ref) const override {
    ref = {0, 0, reinterpret_cast<std::uintptr_t>(data)};
    return true;
  }
  std::byte* at(int, const SharedRef& ref) override {
    return reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(ref.offset));
  }
};

// The mailboxes of a world, by sender and receiver.
struct Mailboxes {
  explicit Mailboxes(int world) : size(world), memory(new Mailbox::Memory[world * world]()) {}
  Mailbox::Memory* box(int from, int to) { return from == to ? nullptr : &memory[from * size + to]; }

  const int size;
  std::unique_ptr<Mailbox::Memory[]> memory;
};

class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<Mailboxes> mailboxes, std::vector<int> nodes, int rank, double deadline)
      : Communicator(std::move(nodes), deadline,
                     mailboxes->size <= static_cast<int>(std::thread::hardware_concurrency())),
        mailboxes_(std::move(mailboxes)),
        rank_(rank),
        neighbours_(std::make_unique<SameAddresses>(), boxes(true), boxes(false)) {}

  int rank() const override { return rank_; }
  int size() const override { return mailboxes_->size; }

 private:
  std::vector<Mailbox::Memory*> boxes(bool outgoing) const {
    std::vector<Mailbox::Memory*> out;
    for (int peer = 0; peer < mailboxes_->size; ++peer) {
      out.push_back(outgoing ? mailboxes_->box(rank_, peer) : mailboxes_->box(peer, rank_));
    }
    return out;
  }

  void begin_exchange(std::span<const Send> sends, std::span<const Receive> receives) override {
    neighbours_.begin_exchange(sends, receives);
  }
  bool poll_exchange() override { return neighbours_.poll_exchange(); }
  void begin_borrow(std::span<const Send> offers, std::span<Borrow> borrows, Lending lending) override {
    neighbours_.begin_borrow(offers, borrows, lending);
  }
  bool poll_borrow() override { return neighbours_.poll_borrow(); }
  void return_borrowed() override { neighbours_.return_borrowed(); }
  bool all_returned() override { return neighbours_.all_returned(); }
  std::string missing() const override { return neighbours_.missing(); }

  std::shared_ptr<Mailboxes> mailboxes_;
  int rank_;
  Neighbours neighbours_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_local_world(int size, double deadline,
                                                            std::vector<int> nodes) {
  if (nodes.empty()) nodes.assign(size, 0);
  auto mailboxes = std::make_shared<Mailboxes>(size);
  std::vector<std::unique_ptr<Communicator>> out;
  for (int rank = 0; rank < size; ++rank) {
    out.push_back(std::make_unique<LocalCommunicator>(mailboxes, nodes, rank, deadline));
  }
  return out;
}

}  // namespace lockstep
