// The workers of one node as this worker sees them: mailboxes to and from each, and each other's memory. The part of a
// communicator that needs no network; the communicator waits, this only looks (poll).
//
// Used by one thread at a time.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "dist/mailboxes.h"

namespace lockstep {

// How memory is named between neighbours.
class SharedMemoryView {
 public:
  virtual ~SharedMemoryView() = default;
  // Where in this worker's shared memory; false where `data` is not in it.
  virtual bool locate(const void* data, SharedRef& ref) const = 0;
  // The memory of neighbour `rank` at `ref`.
  virtual std::byte* at(int rank, const SharedRef& ref) = 0;
};

class Neighbours {
 public:
  // `incoming` and `outgoing` by rank of the world; null for ranks that are not neighbours (and this one).
  Neighbours(std::unique_ptr<SharedMemoryView> view, std::vector<Mailbox::Memory*> outgoing,
             std::vector<Mailbox::Memory*> incoming);

  bool has(int rank) const { return mailboxes_[rank] != nullptr; }

  // Begins the part of an exchange that is with neighbours; sends and receives with others are passed over. The lists
  // live until poll_exchange() said true.
  void begin_exchange(std::span<const Send> sends, std::span<const Receive> receives);
  bool poll_exchange();

  // The same for Communicator::borrow: REQUIRES all are neighbours.
  void begin_borrow(std::span<const Send> offers, std::span<Borrow> borrows, Lending lending);
  bool poll_borrow();
  // Gives back everything that is borrowed.
  void return_borrowed();
  // Whether the neighbours have given back all that this worker offered by reference.
  bool all_returned() const;

  // The ranks that are waited for, "1, 3".
  std::string missing() const;

 private:
  struct Ends {
    Ends(Mailbox::Memory* out, Mailbox::Memory* in) : writer(out), reader(in) {}
    MailboxWriter writer;
    MailboxReader reader;
    mutable bool lent = false;  // a reference was posted and may be read still
    bool sending = false, receiving = false;  // of the exchange that goes on: an earlier message is not through
  };

  void forget_lists();
  bool send_some(std::size_t index);
  bool receive_some(std::size_t index);
  bool post_offer(const Send& offer);

  std::unique_ptr<SharedMemoryView> view_;
  std::vector<std::unique_ptr<Ends>> mailboxes_;  // by rank

  std::span<const Send> sends_;
  std::span<const Receive> receives_;
  std::span<const Send> offers_;
  std::span<Borrow> borrows_;
  Lending lending_ = Lending::kRead;
  std::vector<std::size_t> sent_, received_;  // bytes so far, by position in the lists
  std::size_t offered_ = 0, borrowed_ = 0;    // messages so far
};

}  // namespace lockstep
