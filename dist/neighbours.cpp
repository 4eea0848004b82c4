#include "dist/neighbours.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "core/base/error.h"

namespace lockstep {

Neighbours::Neighbours(std::unique_ptr<SharedMemoryView> view, std::vector<Mailbox::Memory*> outgoing,
                       std::vector<Mailbox::Memory*> incoming)
    : view_(std::move(view)) {
  for (std::size_t rank = 0; rank < outgoing.size(); ++rank) {
    const bool neighbour = outgoing[rank] != nullptr;
    mailboxes_.push_back(neighbour ? std::make_unique<Ends>(outgoing[rank], incoming[rank]) : nullptr);
  }
}

// ---- Messages ----------------------------------------------------------------------------------

void Neighbours::begin_exchange(std::span<const Send> sends, std::span<const Receive> receives) {
  sends_ = sends;
  receives_ = receives;
  sent_.assign(sends.size(), 0);
  received_.assign(receives.size(), 0);
}

bool Neighbours::poll_exchange() {
  for (const auto& ends : mailboxes_) {
    if (ends) ends->sending = ends->receiving = false;
  }
  bool done = true;
  for (std::size_t i = 0; i < sends_.size(); ++i) done = send_some(i) && done;
  for (std::size_t i = 0; i < receives_.size(); ++i) done = receive_some(i) && done;
  if (done) forget_lists();
  return done;
}

void Neighbours::forget_lists() {
  sends_ = {};
  receives_ = {};
}

// Messages to one neighbour go one after another, each in pieces that fit into the mailbox.
bool Neighbours::send_some(std::size_t index) {
  const Send& send = sends_[index];
  if (!has(send.to) || sent_[index] == send.bytes) return true;
  Ends& ends = *mailboxes_[send.to];
  if (ends.sending) return false;
  const auto* bytes = static_cast<const std::byte*>(send.data);
  while (sent_[index] < send.bytes) {
    const std::size_t piece = std::min(Mailbox::kLargestSmall, send.bytes - sent_[index]);
    if (!ends.writer.post_copy(bytes + sent_[index], piece)) {
      ends.sending = true;
      return false;
    }
    sent_[index] += piece;
  }
  return true;
}

bool Neighbours::receive_some(std::size_t index) {
  const Receive& receive = receives_[index];
  if (!has(receive.from) || received_[index] == receive.bytes) return true;
  Ends& ends = *mailboxes_[receive.from];
  if (ends.receiving) return false;
  auto* bytes = static_cast<std::byte*>(receive.data);
  while (received_[index] < receive.bytes) {
    const Mailbox::Letter* letter = ends.reader.open();
    if (letter == nullptr) {
      ends.receiving = true;
      return false;
    }
    require(letter->place != Mailbox::kByReference && letter->bytes <= receive.bytes - received_[index],
            "rank ", receive.from, " sent ", letter->bytes, " bytes, at most ",
            receive.bytes - received_[index], " are expected: the workers do not exchange the same");
    std::memcpy(bytes + received_[index], ends.reader.bytes_of(*letter), letter->bytes);
    received_[index] += letter->bytes;
    ends.reader.take();
  }
  return true;
}

// ---- Borrowing ---------------------------------------------------------------------------------

void Neighbours::begin_borrow(std::span<const Send> offers, std::span<Borrow> borrows, Lending lending) {
  lending_ = lending;
  offers_ = offers;
  borrows_ = borrows;
  offered_ = borrowed_ = 0;
}

bool Neighbours::post_offer(const Send& offer) {
  if (offer.bytes == 0) return true;
  Ends& ends = *mailboxes_[offer.to];
  // What is small is cheaper to copy than to wait for.
  constexpr std::size_t kCheapCopy = 4096;
  if (lending_ == Lending::kRead && offer.bytes <= kCheapCopy && ends.writer.post_copy(offer.data, offer.bytes)) return true;
  SharedRef reference;
  if (!view_->locate(offer.data, reference)) {
    require(lending_ == Lending::kRead && offer.bytes <= kCheapCopy, "memory that is not shared was offered to rank ", offer.to);
    return false;
  }
  if (!ends.writer.post_reference(reference, offer.bytes)) return false;
  ends.lent = true;
  return true;
}

bool Neighbours::poll_borrow() {
  while (offered_ < offers_.size() && post_offer(offers_[offered_])) ++offered_;
  while (borrowed_ < borrows_.size()) {
    Borrow& borrow = borrows_[borrowed_];
    if (borrow.bytes > 0) {
      Ends& ends = *mailboxes_[borrow.from];
      const Mailbox::Letter* letter = ends.reader.open();
      if (letter == nullptr) break;
      require(letter->bytes == borrow.bytes, "rank ", borrow.from, " offers ", letter->bytes, " bytes, ",
              borrow.bytes, " are expected: the workers do not exchange the same");
      borrow.data = letter->place == Mailbox::kByReference ? view_->at(borrow.from, letter->reference)
                                                           : ends.reader.bytes_of(*letter);
    }
    ++borrowed_;
  }
  return offered_ == offers_.size() && borrowed_ == borrows_.size();
}

void Neighbours::return_borrowed() {
  for (const Borrow& borrow : borrows_) {
    if (borrow.bytes > 0) mailboxes_[borrow.from]->reader.take();
  }
  offers_ = {};
  borrows_ = {};
}

bool Neighbours::all_returned() const {
  for (const auto& ends : mailboxes_) {
    if (!ends || !ends->lent) continue;
    if (!ends->writer.all_taken()) return false;
    ends->lent = false;
  }
  return true;
}

// ---- Who is missing ----------------------------------------------------------------------------

std::string Neighbours::missing() const {
  std::set<int> ranks;
  for (std::size_t i = 0; i < receives_.size(); ++i) {
    if (has(receives_[i].from) && received_[i] < receives_[i].bytes) ranks.insert(receives_[i].from);
  }
  for (std::size_t i = 0; i < sends_.size(); ++i) {
    if (has(sends_[i].to) && sent_[i] < sends_[i].bytes) ranks.insert(sends_[i].to);
  }
  for (std::size_t i = borrowed_; i < borrows_.size(); ++i) ranks.insert(borrows_[i].from);
  for (std::size_t rank = 0; rank < mailboxes_.size(); ++rank) {
    if (mailboxes_[rank] && mailboxes_[rank]->lent && !mailboxes_[rank]->writer.all_taken()) {
      ranks.insert(static_cast<int>(rank));
    }
  }
  std::string names;
  for (const int rank : ranks) names += (names.empty() ? "" : ", ") + std::to_string(rank);
  return names;
}

}  // namespace lockstep
