#include "dist/node_memory.h"

#include <unistd.h>

#include <chrono>
#include <map>
#include <set>

#include "core/base/error.h"

namespace lockstep {
namespace {

class HeapView final : public SharedMemoryView {
 public:
  HeapView(const SharedHeap& heap, std::map<int, std::unique_ptr<PeerMemory>> peers)
      : heap_(heap), peers_(std::move(peers)) {}
  bool locate(const void* data, SharedRef& ref) const override { return heap_.locate(data, ref); }
  std::byte* at(int rank, const SharedRef& ref) override { return peers_.at(rank)->at(ref); }

 private:
  const SharedHeap& heap_;
  std::map<int, std::unique_ptr<PeerMemory>> peers_;
};

// Numbers in order of their first appearance.
std::vector<int> numbered(const std::vector<std::int64_t>& names) {
  std::map<std::int64_t, int> numbers;
  std::vector<int> out;
  for (const std::int64_t name : names) {
    out.push_back(numbers.emplace(name, static_cast<int>(numbers.size())).first->second);
  }
  return out;
}

// The first block of each heap: a token, that the file is what it should be, and the mailboxes to every rank.
struct Post {
  std::int64_t token;
  Mailbox::Memory boxes[];
};

class Builder {
 public:
  Builder(int rank, const std::vector<std::int64_t>& machines,
          const std::function<std::vector<std::int64_t>(std::int64_t)>& gather)
      : rank_(rank), world_(static_cast<int>(machines.size())), machines_(machines), gather_(gather) {}

  NodeMemory build() {
    NodeMemory out;
    make_post(out);
    const bool works = open_posts() && out.heap;
    const auto working = gather_(works ? 1 : 0);
    std::set<std::int64_t> broken;  // machines
    for (int r = 0; r < world_; ++r) {
      if (working[r] == 0) broken.insert(machines_[r]);
    }
    // Ranks of a broken machine get a name that no machine has.
    std::vector<std::int64_t> names = machines_;
    for (int r = 0; r < world_; ++r) {
      if (broken.contains(machines_[r])) names[r] = -1 - r;
    }
    out.nodes = numbered(names);
    if (peers_.empty() || broken.contains(machines_[rank_])) {
      out.heap.reset();
      return out;
    }
    auto view = std::make_unique<HeapView>(*out.heap, std::move(peers_));
    out.neighbours = std::make_unique<Neighbours>(std::move(view), outgoing_, incoming_);
    return out;
  }

 private:
  bool is_neighbour(int r) const { return r != rank_ && machines_[r] == machines_[rank_]; }

  void make_post(NodeMemory& out) {
    std::string why;
    out.heap = SharedHeap::make(why);
    post_bytes_ = sizeof(Post) + sizeof(Mailbox::Memory) * world_;
    void* memory = out.heap ? out.heap->allocate(post_bytes_) : nullptr;
    if (memory == nullptr) {
      out.heap.reset();
      file_ = -1;
      return;
    }
    post_ = static_cast<Post*>(memory);
    out.heap->locate(post_, where_);
    post_->token = std::chrono::steady_clock::now().time_since_epoch().count();
    file_ = out.heap->file();
  }

  // A neighbour whose memory cannot be opened, or where somebody else has its process number, is none.
  bool open_posts() {
    const auto processes = gather_(getpid()), files = gather_(file_);
    const auto tokens = gather_(post_ == nullptr ? 0 : post_->token);
    outgoing_.assign(world_, nullptr);
    incoming_.assign(world_, nullptr);
    for (int r = 0; r < world_; ++r) {
      if (!is_neighbour(r)) continue;
      if (files[r] < 0 || post_ == nullptr) return false;
      try {
        auto peer = std::make_unique<PeerMemory>(SharedHeap::path_of(processes[r], files[r]));
        auto* post = reinterpret_cast<Post*>(peer->at(where_));
        if (post->token != tokens[r]) return false;
        incoming_[r] = post->boxes + rank_;
        outgoing_[r] = post_->boxes + r;
        peers_[r] = std::move(peer);
      } catch (const Error&) {
        return false;
      }
    }
    return true;
  }

  const int rank_, world_;
  const std::vector<std::int64_t>& machines_;
  const std::function<std::vector<std::int64_t>(std::int64_t)>& gather_;
  std::size_t post_bytes_ = 0;
  Post* post_ = nullptr;
  SharedRef where_;
  std::int64_t file_ = -1;
  std::map<int, std::unique_ptr<PeerMemory>> peers_;
  std::vector<Mailbox::Memory*> outgoing_, incoming_;
};

}  // namespace

NodeMemory make_node_memory(int rank, const std::vector<std::int64_t>& machines,
                            const std::function<std::vector<std::int64_t>(std::int64_t)>& gather) {
  return Builder(rank, machines, gather).build();
}

}  // namespace lockstep
