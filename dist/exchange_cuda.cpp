#include "dist/exchange_cuda.h"

#include "core/base/error.h"
#include "dist/tree_sum.h"

namespace lockstep {
namespace {

std::size_t bytes_of(std::int64_t floats) { return static_cast<std::size_t>(floats) * sizeof(float); }

// What exchanges are called in messages, as by the kernels of the CPU.
constexpr const char* kReduction = "reduction of gradients";
constexpr const char* kSum = "sum over the microbatches";
constexpr const char* kNorm = "gather of the norm";
constexpr const char* kParameters = "gather of parameters";

struct Ways {
  GpuTransport& transport;
  ExchangeMarks& marks;
};

// Messages, then the sum.
class FlatKernel {
 public:
  FlatKernel(FlatExchange flat, const char* what, Ways ways)
      : flat_(std::move(flat)), sum_(flat_.sum), ways_(ways), number_(ways.marks.number_of(what)) {
    for (const FlatMessage& message : flat_.sends) sends_.push_back({message.peer, nullptr, bytes_of(message.count)});
    for (const FlatMessage& message : flat_.receives) receives_.push_back({message.peer, nullptr, bytes_of(message.count)});
  }

  std::size_t workspace_bytes() const { return bytes_of(flat_.workspace_floats); }

  void run(const Launch& launch) const {
    if (!sends_.empty() || !receives_.empty()) {
      for (std::size_t i = 0; i < sends_.size(); ++i) sends_[i].data = flat_.sends[i].place.in(launch);
      for (std::size_t i = 0; i < receives_.size(); ++i) receives_[i].data = flat_.receives[i].place.in(launch);
      ways_.marks.mark(launch, number_);
      ways_.transport.exchange(sends_, receives_, launch.stream);
    }
    sum_.run(launch);
  }

 private:
  const FlatExchange flat_;
  const TreeSumKernel sum_;
  const Ways ways_;
  const std::uint32_t number_;
  // Of a run: only the pointers change.
  mutable std::vector<Send> sends_;
  mutable std::vector<Receive> receives_;
};

Kernel make_flat(const char* name, FlatExchange flat, const char* what, Ways ways) {
  auto kernel = std::make_shared<const FlatKernel>(std::move(flat), what, ways);
  const std::size_t workspace = kernel->workspace_bytes();
  return {name, [kernel](const Launch& launch) { kernel->run(launch); }, workspace};
}

Kernel make_tree_reduce(const KernelRequest& request, Ways ways) {
  return make_flat("tree_reduce_cuda", flat_tree_reduce(request.op_as<TreeReduceOp>().plan()), kReduction, ways);
}

Kernel make_tree_all_reduce(const KernelRequest& request, Ways ways) {
  const auto& op = request.op_as<TreeAllReduceOp>();
  return make_flat("tree_all_reduce_cuda", flat_tree_all_reduce(op.plan(), op.elements()), kSum, ways);
}

Kernel make_all_gather(const KernelRequest& request, Ways ways) {
  return make_flat("all_gather_cuda", flat_all_gather(request.op_as<AllGatherOp>().plan()), kNorm, ways);
}

Kernel make_gather_state(const KernelRequest& request, Ways ways) {
  const auto& op = request.op_as<GatherStateOp>();
  if (!op.fast()) return make_flat("gather_state_cuda", flat_gather_state(op.plan()), kParameters, ways);
  const std::uint32_t number = ways.marks.number_of(kParameters);
  return {"gather_state_fast_cuda", [ways, number, chunks = op.plan().chunks](const Launch& launch) {
            ways.marks.mark(launch, number);
            ways.transport.all_gather(launch.overwritten<float>(0), chunks, launch.stream);
          }};
}

Kernel make_fast_reduce(const KernelRequest& request, Ways ways) {
  const std::uint32_t number = ways.marks.number_of(kReduction);
  return {"fast_reduce_cuda",
          [ways, number, chunks = request.op_as<FastReduceOp>().plan().chunks](const Launch& launch) {
            ways.marks.mark(launch, number);
            ways.transport.reduce_scatter(launch.input<float>(0), launch.output<float>(0), chunks, launch.stream);
          }};
}

}  // namespace

void register_exchange_cuda(KernelRegistry& registry, GpuTransport& transport, ExchangeMarks& marks) {
  const auto add = [&](const char* name, auto make) {
    const Ways ways{transport, marks};
    registry.add(name, DeviceKind::kCuda, {[make, ways](const KernelRequest& request) { return make(request, ways); }, nullptr});
  };
  add("tree_reduce", make_tree_reduce);
  add("tree_all_reduce", make_tree_all_reduce);
  add("all_gather", make_all_gather);
  add("gather_state", make_gather_state);
  add("fast_reduce", make_fast_reduce);
}

}  // namespace lockstep
