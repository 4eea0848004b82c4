#include "dist/node_share.h"

#include <algorithm>
#include <sstream>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/machine.h"
#include "dist/agree.h"

namespace lockstep {
namespace {

std::shared_ptr<std::byte> heap_memory(SharedHeap& heap, std::size_t bytes) {
  auto* const memory = static_cast<std::byte*>(heap.allocate(std::max<std::size_t>(bytes, 1)));
  if (memory == nullptr) environment_failed("there are no ", bytes, " bytes of shared memory for the data");
  return {memory, [&heap](std::byte* data) { heap.free(data); }};
}

}  // namespace

int workers_of_node(const Communicator& communicator) {
  const std::vector<int>& nodes = communicator.nodes();
  return static_cast<int>(std::ranges::count(nodes, nodes[static_cast<std::size_t>(communicator.rank())]));
}

NodeShare share_on_node(Communicator& communicator, std::size_t bytes) {
  const std::vector<int>& nodes = communicator.nodes();
  const auto rank = static_cast<std::size_t>(communicator.rank());
  SharedHeap* const heap = communicator.heap();
  NodeShare share;
  const bool shared = heap != nullptr && workers_of_node(communicator) > 1;
  if (shared) {
    share.parts = workers_of_node(communicator);
    share.part = static_cast<int>(std::count(nodes.begin(), nodes.begin() + static_cast<std::ptrdiff_t>(rank), nodes[rank]));
  }
  std::string offer;
  together(communicator, [&] {
    if (share.part > 0) return;
    share.memory = shared ? heap_memory(*heap, bytes) : line_memory(bytes);
    SharedRef ref;
    if (shared && heap->locate(share.memory.get(), ref)) {
      offer = text(getpid(), ' ', heap->file(), ' ', ref.block, ' ', ref.block_bytes, ' ', ref.offset);
    }
  });
  const std::vector<std::string> offers = gather_texts(communicator, offer, "memory of the data");
  together(communicator, [&] {
    if (share.part == 0) return;
    const auto owner = static_cast<std::size_t>(std::ranges::find(nodes, nodes[rank]) - nodes.begin());
    std::istringstream in(offers[owner]);
    std::int64_t process = 0, file = 0;
    SharedRef ref;
    in >> process >> file >> ref.block >> ref.block_bytes >> ref.offset;
    const auto peer = std::make_shared<PeerMemory>(SharedHeap::path_of(process, file));
    share.memory = std::shared_ptr<std::byte>(peer, peer->at(ref));
  });
  return share;
}

}  // namespace lockstep
