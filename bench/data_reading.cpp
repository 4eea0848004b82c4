// How fast an epoch of a file comes: through the loader, by one H5Dread for each sample, and by reading the bytes of the
// file, which is the limit. Run by bench/compare_data.py.
//
//   lockstep_data_reading MODE FILE THREADS EPOCHS      prints samples and seconds of EPOCHS epochs of array "x"
//
//   bytes       the whole file, read with pread in blocks
//   decode      all blocks in turn, read and decoded by the threads, thrown away
//   sequential  batches in the order of the rows
//   shuffled    batches in the order of an epoch, within kMemory
//   h5dread     kSamples samples, each with H5Dread, in a random order
#include <hdf5.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <thread>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/random.h"
#include "core/device/cpu_device.h"
#include "datasets/batch_queue.h"

using namespace lockstep;

namespace {

constexpr std::int64_t kBatch = 64;
constexpr std::int64_t kLanes = 8;
constexpr std::size_t kMemory = std::size_t{64} << 20;
constexpr std::int64_t kSamples = 2000;

struct Result {
  std::int64_t samples = 0;
  double seconds = 0;
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Runs body(thread) on that many threads.
template <typename Body>
void on_threads(int threads, const Body& body) {
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) all.emplace_back(body, t);
  for (std::thread& thread : all) thread.join();
}

Result read_bytes(const std::string& path, int threads, std::int64_t samples, int epochs) {
  const double begin = now();
  const ReadOnlyFile file(path);
  const std::uint64_t size = file.size();
  const std::uint64_t blocks = (size + kBlockBytes - 1) / kBlockBytes, all = blocks * static_cast<std::uint64_t>(epochs);
  std::atomic<std::uint64_t> next{0};
  on_threads(threads, [&](int) {
    std::vector<std::byte> room(kBlockBytes);
    for (std::uint64_t block = next++; block < all; block = next++) {
      const std::uint64_t at = block % blocks * kBlockBytes;
      file.read(at, static_cast<std::size_t>(std::min<std::uint64_t>(room.size(), size - at)), room.data());
    }
  });
  return {samples * epochs, now() - begin};
}

Result decode(const Dataset& dataset, int threads, int epochs) {
  const double begin = now();
  std::atomic<std::size_t> next{0};
  on_threads(threads, [&](int) {
    Dataset::Scratch scratch;
    std::vector<std::byte> room;
    const auto& blocks = dataset.blocks();
    const std::size_t all = blocks.size() * static_cast<std::size_t>(epochs);
    for (std::size_t b = next++; b < all; b = next++) dataset.block_bytes(0, blocks[b % blocks.size()], room, scratch);
  });
  return {dataset.size() * epochs, now() - begin};
}

Result load(const std::shared_ptr<const Dataset>& dataset, int threads, int epochs, SampleOrder order) {
  std::int64_t rows = 1;
  for (const RowBlock& block : dataset->blocks()) rows = std::max(rows, block.size());
  const std::size_t block = static_cast<std::size_t>(rows) * dataset->arrays()[0].sample_bytes();
  const auto group = static_cast<std::int64_t>(kMemory / (2 * kLanes * block));
  const Loader loader(whole(dataset), {.inputs = {{.array = "x", .dtype = dataset->arrays()[0].dtype}},
                                       .order = order,
                                       .seed = 1,
                                       .global_batch = kBatch,
                                       .microbatches = kLanes,
                                       .group_blocks = std::max<std::int64_t>(1, group)});
  CpuDevice device(1);
  BatchQueue queue(loader, device,
                   {.threads = threads,
                    .may_spin = threads < static_cast<int>(std::thread::hardware_concurrency()),
                    .range_of = [](std::int64_t samples) { return Range{0, samples}; },
                    .microbatches = {0, kLanes},
                    .memory = kMemory});
  const double begin = now();
  queue.start(0, 0, loader.batches() * epochs);
  Result result;
  for (std::int64_t batch = 0; batch < loader.batches() * epochs; ++batch) result.samples += queue.next().range.size();
  result.seconds = now() - begin;
  return result;
}

Result h5dread(const std::string& path, const Dataset& dataset) {
  const DatasetArray& array = dataset.arrays()[0];
  check_input(array.dtype == DType::kU8, path, ": expected bytes in \"x\"");
  std::vector<hsize_t> start(static_cast<std::size_t>(array.sample.rank()) + 1, 0), count{1};
  for (const std::int64_t extent : array.sample.dims()) count.push_back(static_cast<hsize_t>(extent));
  std::vector<std::uint8_t> row(array.sample_bytes());
  const RandomStream random(1, Purpose::kShuffle, 0);
  const double begin = now();
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t data = H5Dopen(file, "x", H5P_DEFAULT), space = H5Dget_space(data);
  const hid_t memory = H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr);
  for (std::int64_t i = 0; i < kSamples; ++i) {
    const std::uint64_t word = random.word(0, static_cast<std::uint32_t>(i), 0);
    start[0] = static_cast<hsize_t>(word * static_cast<std::uint64_t>(dataset.size()) >> 32);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr);
    check_input(H5Dread(data, H5T_NATIVE_UINT8, memory, space, H5P_DEFAULT, row.data()) >= 0, path, ": H5Dread failed");
  }
  const Result result{kSamples, now() - begin};
  H5Sclose(memory);
  H5Sclose(space);
  H5Dclose(data);
  H5Fclose(file);
  return result;
}

}  // namespace

int main(int argc, char** argv) try {
  check_input(argc == 5, "usage: lockstep_data_reading MODE FILE THREADS EPOCHS");
  const std::string mode = argv[1], path = argv[2];
  const int threads = std::atoi(argv[3]), epochs = std::atoi(argv[4]);
  check_input(threads >= 1 && epochs >= 1, "THREADS, EPOCHS: found ", argv[3], " and ", argv[4], ", expected 1 or more");
  const std::shared_ptr<const Dataset> dataset = Dataset::describe({path}, {"x"});
  Result result;
  if (mode == "bytes") {
    result = read_bytes(path, threads, dataset->size(), epochs);
  } else if (mode == "decode") {
    result = decode(*dataset, threads, epochs);
  } else if (mode == "sequential") {
    result = load(dataset, threads, epochs, SampleOrder::kSequential);
  } else if (mode == "shuffled") {
    result = load(dataset, threads, epochs, SampleOrder::kWindow);
  } else if (mode == "h5dread") {
    result = h5dread(path, *dataset);
  } else {
    bad_input("MODE: found \"", mode, "\", expected bytes, decode, sequential, shuffled or h5dread");
  }
  std::printf("%lld %.6f\n", static_cast<long long>(result.samples), result.seconds);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
