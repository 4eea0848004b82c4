#include "launcher/worker.h"

#include <algorithm>
#include <thread>

#include "core/base/error.h"
#include "core/device/cpu_device.h"
#include "dist/exchange_ops.h"
#include "dist/mpi_communicator.h"
#include "ops/register.h"

namespace lockstep {

Worker::Worker(std::unique_ptr<Communicator> communicator, int threads)
    : threads_(threads),
      communicator_(std::move(communicator)),
      device_(std::make_unique<CpuDevice>(threads, communicator_->heap())) {
  register_cpu_kernels(kernels_);
  register_exchange_cpu(kernels_, *communicator_);
  communicator_->report_to(&progress_);
  if (communicator_->size() > 1) communication_ = std::make_unique<WorkStream>(communicator_->patience());
}

Worker::Worker(std::unique_ptr<Communicator> communicator, int threads, WorkerDevice device)
    : threads_(threads),
      workers_of_device_(device.workers),
      device_hides_exchange_(device.hides_exchange),
      communicator_(std::move(communicator)),
      device_(std::move(device.device)) {
  exchange_ = device.register_kernels(kernels_, *communicator_, *device_);
  communicator_->report_to(&progress_);
}

int Worker::workers_of_device() const { return workers_of_device_ > 0 ? workers_of_device_ : world_size(); }

bool Worker::hides_exchange() const {
  if (device_->queues_work()) return device_hides_exchange_;
  const std::vector<int>& nodes = communicator_->nodes();
  const auto neighbours = std::ranges::count(nodes, nodes[rank()]);
  if (neighbours < world_size()) return true;
  return neighbours * (threads_ + 1) <= static_cast<std::int64_t>(std::thread::hardware_concurrency());
}

Communicator& Worker::communicator() {
  if (communication_) communication_->take_over();
  return *communicator_;
}

std::unique_ptr<Communicator> join_world(const PromisedWorld& promised, double deadline) {
  if (promised.launcher.empty()) return make_single_communicator();
  auto communicator = make_mpi_communicator(deadline);
  if (communicator->size() != promised.size) {
    environment_failed(promised.launcher, " started ", promised.size, " processes, but MPI sees ",
                       communicator->size(),
                       ": each would train alone. Start with mpirun, or with srun --mpi=pmix");
  }
  return communicator;
}

}  // namespace lockstep
