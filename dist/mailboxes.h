// Messages between workers that see each other's memory: threads of one process, or processes of one machine.
//
// From each worker to each other one there is a mailbox, a bounded queue with one writer and one reader, without locks. A
// message is either small, and then its bytes are in the mailbox, or a reference to memory of the sender, which the
// receiver reads in place. The receiver takes messages in order; only then may the sender reuse the memory.
//
// Layout of a mailbox (all of a worker's outgoing ones lie one after another in memory of its own):
//   posted  u64   messages that were written so far; by the sender
//   taken   u64   messages that the receiver needs no more
//   kLetters x { bytes u64, place u64 (in the ring of bytes; kByReference), reference }
//   kRingBytes bytes, in which small messages lie contiguously
// Cost of a small message: two cache lines change their core, and those of its bytes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/device/shared_heap.h"

namespace lockstep {

class Mailbox {
 public:
  static constexpr std::size_t kLetters = 64;
  static constexpr std::size_t kRingBytes = 32768;
  static constexpr std::size_t kLargestSmall = 8192;  // bytes of a message that travels in the ring

  struct alignas(64) Letter {
    std::uint64_t bytes = 0;
    std::uint64_t place = 0;
    SharedRef reference;
  };
  static constexpr std::uint64_t kByReference = ~std::uint64_t{0};

  // The memory of a mailbox; zeroed memory is an empty one.
  struct Memory {
    alignas(64) std::atomic<std::uint64_t> posted;
    alignas(64) std::atomic<std::uint64_t> taken;
    alignas(64) Letter letters[kLetters];
    alignas(64) std::byte ring[kRingBytes];
  };
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
};

// The sender's end.
class MailboxWriter {
 public:
  explicit MailboxWriter(Mailbox::Memory* memory) : memory_(memory) {}

  // Copies a small message into the mailbox; false where there is no room just now.
  bool post_copy(const void* data, std::size_t bytes);
  // Posts a reference; false where there is no room just now.
  bool post_reference(const SharedRef& reference, std::size_t bytes);
  // Whether the receiver needs none of the messages so far any more.
  bool all_taken() const { return memory_->taken.load(std::memory_order_acquire) == posted_; }

 private:
  // Gives back the bytes of messages that were taken; whether there is room for another message.
  bool reclaim();
  void post(const Mailbox::Letter& letter);

  Mailbox::Memory* memory_;
  std::uint64_t posted_ = 0, reclaimed_ = 0;         // messages
  std::uint64_t ring_begin_ = 0, ring_end_ = 0;      // bytes in use; positions count up for ever
};

// The receiver's end.
class MailboxReader {
 public:
  explicit MailboxReader(Mailbox::Memory* memory) : memory_(memory) {}

  // The next message that was not opened yet; nullptr where there is none.
  const Mailbox::Letter* open();
  // The bytes of a small message.
  std::byte* bytes_of(const Mailbox::Letter& letter) const {
    return memory_->ring + letter.place % Mailbox::kRingBytes;
  }
  // All messages that were opened are needed no more.
  void take() { memory_->taken.store(opened_, std::memory_order_release); }

 private:
  Mailbox::Memory* memory_;
  std::uint64_t opened_ = 0;
};

}  // namespace lockstep
