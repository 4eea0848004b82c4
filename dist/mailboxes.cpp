#include "dist/mailboxes.h"

#include <cstring>

namespace lockstep {

void MailboxWriter::post(const Mailbox::Letter& letter) {
  memory_->letters[posted_ % Mailbox::kLetters] = letter;
  memory_->posted.store(++posted_, std::memory_order_release);
}

bool MailboxWriter::reclaim() {
  const std::uint64_t taken = memory_->taken.load(std::memory_order_acquire);
  // Letters that were taken still have their text: nobody else writes it.
  for (; reclaimed_ < taken; ++reclaimed_) {
    const Mailbox::Letter& letter = memory_->letters[reclaimed_ % Mailbox::kLetters];
    if (letter.place != Mailbox::kByReference) ring_begin_ = letter.place + letter.bytes;
  }
  return posted_ - taken < Mailbox::kLetters;
}

bool MailboxWriter::post_reference(const SharedRef& reference, std::size_t bytes) {
  if (!reclaim()) return false;
  post({bytes, Mailbox::kByReference, reference});
  return true;
}

bool MailboxWriter::post_copy(const void* data, std::size_t bytes) {
  if (!reclaim()) return false;
  constexpr std::uint64_t kLine = 64;  // messages begin on cache lines, so that any type may be read in place
  std::uint64_t place = (ring_end_ + kLine - 1) / kLine * kLine;
  const std::uint64_t left = Mailbox::kRingBytes - place % Mailbox::kRingBytes;
  if (bytes > left) place += left;  // contiguous: the end of the ring stays empty
  if (place + bytes - ring_begin_ > Mailbox::kRingBytes) return false;
  if (bytes > 0) std::memcpy(memory_->ring + place % Mailbox::kRingBytes, data, bytes);
  ring_end_ = place + bytes;
  post({bytes, place, {}});
  return true;
}

const Mailbox::Letter* MailboxReader::open() {
  if (memory_->posted.load(std::memory_order_acquire) == opened_) return nullptr;
  return &memory_->letters[opened_++ % Mailbox::kLetters];
}

}  // namespace lockstep
