// What the queue hands out is what a fill writes, for data that is held and data that is streamed, any number of threads,
// workers and any place to start; and memory stays within its budget.
#include "datasets/batch_queue.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>
#include <thread>

#include "core/base/file.h"
#include "core/device/cpu_device.h"
#include "datasets/microbatches.h"
#include "datasets/transforms/random_crop.h"
#include "tests/core/count_allocations.h"
#include "tests/datasets/shards.h"

namespace lockstep {
namespace {

constexpr std::int64_t kRows = 1000;  // in three shards

// x (4, 4, 1) u8, z f32 (3), y i32. Rows of x are counted in their first two bytes.
class QueueTest : public testing::Test {
 protected:
  void SetUp() override {
    std::int64_t first = 0;
    for (const auto& [name, rows] : {std::pair{"s-0.h5", 417}, {"s-1.h5", 83}, {"s-2.h5", 500}}) {
      std::vector<std::uint8_t> x(static_cast<std::size_t>(rows) * 16);
      std::vector<float> z(static_cast<std::size_t>(rows) * 3);
      std::vector<std::int32_t> y(static_cast<std::size_t>(rows));
      for (std::int64_t i = 0; i < rows; ++i) {
        const std::int64_t row = first + i;
        for (int e = 0; e < 16; ++e) x[static_cast<std::size_t>(i * 16 + e)] = static_cast<std::uint8_t>(row * 7 + e);
        x[static_cast<std::size_t>(i * 16)] = static_cast<std::uint8_t>(row % 256);
        x[static_cast<std::size_t>(i * 16 + 1)] = static_cast<std::uint8_t>(row / 256);
        for (int e = 0; e < 3; ++e) z[static_cast<std::size_t>(i * 3 + e)] = static_cast<float>(row) + static_cast<float>(e) / 4;
        y[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(row % 10);
      }
      Hdf5Writer writer(directory_.path(name));
      writer.write("x", DType::kU8, {rows, 4, 4, 1}, x.data(), {.chunk_rows = 32, .gzip = 3, .shuffle = false, .checksum = true});
      writer.write("z", DType::kF32, {rows, 3}, z.data(), {.chunk_rows = 20, .gzip = 1, .shuffle = true});
      writer.write("y", DType::kI32, {rows}, y.data());
      writer.commit();
      first += rows;
    }
  }

  // Nothing but y is held where `streamed`.
  std::shared_ptr<const Dataset> open(bool streamed) {
    auto dataset = Dataset::describe({directory_.path("s-*.h5")}, {}, 1000);
    std::vector<bool> which(3, !streamed);
    which[static_cast<std::size_t>(dataset->find("y"))] = true;
    const std::size_t bytes = dataset->bytes_to_hold(which);
    dataset->hold(which, std::shared_ptr<std::byte>(new std::byte[bytes], std::default_delete<std::byte[]>()));
    dataset->load(0, 1, 2);
    return dataset;
  }

  static LoaderOptions options_of(std::int64_t batch, SampleOrder order = SampleOrder::kWindow) {
    LoaderOptions options;
    LoaderInput x{.array = "x"};
    x.transforms = {{0, random_crop({.padding = 1, .height = 0, .width = 0})}};
    options.inputs = {x, LoaderInput{.array = "z"}};
    options.target = "y";
    options.target_dtype = DType::kI32;
    options.classes = 10;
    options.order = order;
    options.seed = 5;
    options.global_batch = batch;
    options.microbatches = 4;
    options.group_blocks = 2;
    return options;
  }

  struct Part {
    std::vector<float> x, z;
    std::vector<std::int32_t> y;
    std::vector<std::int64_t> samples;
    bool operator==(const Part&) const = default;
  };
  static Part part_of(const BatchBuffers& from, std::int64_t count) {
    const auto list = [count](const auto* values, std::int64_t elements) {
      return std::vector(values, values + count * elements);
    };
    return {list(static_cast<const float*>(from.inputs[0]), 16), list(static_cast<const float*>(from.inputs[1]), 3),
            list(static_cast<const std::int32_t*>(from.target), 1), list(from.samples, 1)};
  }
  static Part filled(const Loader& loader, std::int64_t epoch, std::int64_t batch, Range range) {
    Part part{std::vector<float>(static_cast<std::size_t>(range.size()) * 16),
              std::vector<float>(static_cast<std::size_t>(range.size()) * 3),
              std::vector<std::int32_t>(static_cast<std::size_t>(range.size())),
              std::vector<std::int64_t>(static_cast<std::size_t>(range.size()))};
    Loader::Scratch scratch;
    loader.fill(epoch, batch, range, {{part.x.data(), part.z.data()}, part.y.data(), nullptr, part.samples.data()}, scratch);
    return part;
  }

  TemporaryDirectory directory_;
  CpuDevice device_;
};

TEST_F(QueueTest, RowsAreReadRight) {
  const auto streamed = open(true), held = open(false);
  EXPECT_FALSE(streamed->all_held());
  EXPECT_TRUE(held->all_held());
  EXPECT_EQ(streamed->blocks().size(), 14u + 3u + 16u);  // chunks of 32 rows
  Dataset::Scratch scratch;
  for (const char* name : {"x", "z", "y"}) {
    const int array = streamed->find(name);
    const std::size_t row = streamed->arrays()[static_cast<std::size_t>(array)].sample_bytes();
    for (const Range rows : {Range{0, kRows}, {400, 520}, {416, 418}, {499, 501}, {999, 1000}, {5, 5}}) {
      std::vector<std::byte> found(static_cast<std::size_t>(rows.size()) * row);
      streamed->read(array, rows, found.data(), scratch);
      EXPECT_TRUE(found.empty() || std::memcmp(found.data(), held->row(array, rows.begin), found.size()) == 0) << name;
    }
  }
}

TEST_F(QueueTest, WorkersTogetherReadWhatOneReads) {
  const auto streamed = open(true), held = open(false);
  for (const std::int64_t batch_size : {24, 30, 7}) {
    const Loader reference(whole(held), options_of(batch_size));
    const Loader loader(whole(streamed), options_of(batch_size));
    ASSERT_TRUE(loader.streams());
    for (const int world : {1, 2, 3, 8}) {
      for (const int threads : {0, 1, 3}) {
        for (const auto& [epoch, batch] : {std::pair<std::int64_t, std::int64_t>{0, 0}, {1, loader.batches() - 3}}) {
          std::vector<std::unique_ptr<BatchQueue>> queues;
          for (int rank = 0; rank < world; ++rank) {
            BatchQueueOptions options;
            options.threads = threads;
            options.range_of = [world, rank](std::int64_t size) { return Microbatches(size, 4).samples_of_rank(rank, world); };
            options.microbatches = Microbatches(batch_size, 4).of_rank(rank, world);
            options.memory = 4096;
            queues.push_back(std::make_unique<BatchQueue>(loader, device_, options));
            queues.back()->start(epoch, batch);
          }
          std::int64_t e = epoch, b = batch;
          for (int step = 0; step < 8; ++step) {
            for (int rank = 0; rank < world; ++rank) {
              const FilledBatch& found = queues[static_cast<std::size_t>(rank)]->next();
              ASSERT_EQ(found.epoch, e);
              ASSERT_EQ(found.batch, b);
              ASSERT_EQ(found.range, Microbatches(found.batch_size, 4).samples_of_rank(rank, world));
              if (found.range.size() == 0) continue;
              ASSERT_EQ(part_of(found.buffers, found.range.size()), filled(reference, e, b, found.range))
                  << world << " workers, " << threads << " threads, epoch " << e << " batch " << b;
            }
            if (++b == loader.batches()) {
              b = 0;
              ++e;
            }
          }
        }
      }
    }
  }
}

TEST_F(QueueTest, TheOrderOfTheRowsWithoutShuffling) {
  const Loader reference(whole(open(false)), options_of(64, SampleOrder::kSequential));
  const Loader loader(whole(open(true)), options_of(64, SampleOrder::kSequential));
  ASSERT_TRUE(loader.streams());  // chunks are worth being kept
  BatchQueueOptions options;
  options.threads = 1;
  options.range_of = [](std::int64_t size) { return Range{0, size}; };
  BatchQueue queue(loader, device_, options);
  queue.start(0, 3, 5);
  for (std::int64_t batch = 3; batch < 8; ++batch) {
    const FilledBatch& found = queue.next();
    EXPECT_EQ(part_of(found.buffers, found.range.size()), filled(reference, 0, batch, found.range));
  }
  EXPECT_EQ(message_of([&] { queue.next(); }, ErrorKind::kInvariant),
            "BatchQueue::next() before start() or after the last batch");
}

TEST_F(QueueTest, APartOfTheSamplesAndAllOrders) {
  Subset some = whole(open(true));
  std::erase_if(some.ids, [](std::int64_t id) { return id % 5 == 1 || (id > 300 && id < 460); });
  Subset same{open(false), some.ids};
  for (const SampleOrder order : {SampleOrder::kWindow, SampleOrder::kShuffled, SampleOrder::kSequential}) {
    const Loader reference(same, options_of(50, order)), loader(some, options_of(50, order));
    BatchQueueOptions options;
    options.threads = 2;
    options.microbatches = {0, 4};
    options.range_of = [](std::int64_t size) { return Range{0, size}; };
    BatchQueue queue(loader, device_, options);
    queue.start(0, 0);
    std::vector<std::int64_t> seen;
    for (std::int64_t batch = 0; batch < loader.batches(); ++batch) {
      const FilledBatch& found = queue.next();
      const Part part = part_of(found.buffers, found.range.size());
      EXPECT_EQ(part, filled(reference, 0, batch, found.range));
      seen.insert(seen.end(), part.samples.begin(), part.samples.end());
    }
    std::ranges::sort(seen);
    EXPECT_EQ(seen, some.ids);
  }
}

TEST_F(QueueTest, MemoryStaysWithinTheBudget) {
  const Loader loader(whole(open(true)), options_of(24));
  constexpr std::size_t kBlock = 32 * (16 + 3 * 4);
  const auto stream = loader.make_stream({0, 4}, 13 * kBlock);
  Loader::Scratch scratch;
  std::vector<float> x(24 * 16), z(24 * 3);
  stream->start(0, 0, -1);
  std::size_t most = 0;
  for (std::int64_t step = 0; step < 3 * loader.batches(); ++step) {
    const std::int64_t epoch = step / loader.batches(), batch = step % loader.batches();
    while (!stream->ready(epoch, batch)) {
      ASSERT_TRUE(stream->read_one(scratch.reader));
      most = std::max(most, stream->bytes());
    }
    while (stream->read_one(scratch.reader)) most = std::max(most, stream->bytes());
    loader.fill(epoch, batch, {0, loader.batch_size(batch)}, {.inputs = {x.data(), z.data()}}, scratch, stream.get());
  }
  // Two groups of two blocks of four lanes would be 16, were there room.
  EXPECT_LE(most, 13 * kBlock);
  EXPECT_GE(most, 12 * kBlock);
}

TEST_F(QueueTest, WhatGoesWrongIsHandedOnAfterTheBatchesBefore) {
  LoaderOptions options = options_of(10, SampleOrder::kSequential);
  const Loader loader(whole(open(false)), options);
  for (const int threads : {0, 1, 2}) {
    BatchQueueOptions queue_options;
    queue_options.threads = threads;
    std::atomic<int> calls{0};
    queue_options.range_of = [&](std::int64_t size) {
      if (++calls == 3) bad_input("the third batch is broken");
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      return Range{0, size};
    };
    BatchQueue queue(loader, device_, queue_options);
    queue.start(0, 0);
    EXPECT_EQ(queue.next().batch, 0);
    EXPECT_EQ(queue.next().batch, 1);
    EXPECT_EQ(message_of([&] { queue.next(); }), "the third batch is broken") << threads;
    queue.start(0, 0);
    EXPECT_EQ(queue.next().batch, 0);
  }
}

TEST_F(QueueTest, ADamagedChunkNamesFileArrayAndRows) {
  const auto dataset = open(true);
  std::string bytes = local_files().read(directory_.path("s-1.h5"));
  const Hdf5File file(directory_.path("s-1.h5"));
  const Hdf5Storage storage = file.storage(file.array("x"));
  bytes[storage.chunks[1].offset + 20] ^= 0x20;
  local_files().write_atomic(directory_.path("s-1.h5"), bytes);
  const Loader loader(whole(open(true)), options_of(24));
  BatchQueueOptions options;
  options.threads = 2;
  options.microbatches = {0, 4};
  options.range_of = [](std::int64_t size) { return Range{0, size}; };
  BatchQueue queue(loader, device_, options);
  queue.start(0, 0);
  const std::string message = message_of([&] {
    for (std::int64_t step = 0; step < loader.batches(); ++step) queue.next();
  });
  EXPECT_EQ(message.find(directory_.path("s-1.h5") + ": array \"x\", rows [32, 64): the chunk of "), 0u) << message;
}

TEST_F(QueueTest, AFileThatIsChangedWhileItIsReadIsTold) {
  const Loader loader(whole(open(true)), options_of(24));
  BatchQueueOptions options;
  options.microbatches = {0, 4};
  options.range_of = [](std::int64_t size) { return Range{0, size}; };
  options.memory = 2000;
  BatchQueue queue(loader, device_, options);
  queue.start(0, 0);
  queue.next();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const std::string path = directory_.path("s-2.h5");
  const std::string bytes = local_files().read(path);
  local_files().write(path, bytes.substr(0, bytes.size() - 100));
  const std::string message = message_of(
      [&] {
        for (std::int64_t step = 0; step < 2 * loader.batches(); ++step) queue.next();
      },
      ErrorKind::kEnvironment);
  EXPECT_EQ(message.find(path + ": was changed while it was read"), 0u) << message;
}

TEST_F(QueueTest, SteadyStateAllocatesNothing) {
  for (const int threads : {0, 2}) {
    const Loader loader(whole(open(false)), options_of(24, SampleOrder::kShuffled));
    BatchQueueOptions options;
    options.threads = threads;
    options.range_of = [](std::int64_t size) { return Range{0, size}; };
    BatchQueue queue(loader, device_, options);
    queue.start(0, 0);
    // On a busy machine a thread may have filled its first batch late.
    constexpr int kSteps = 200, kMostRounds = 20;
    std::int64_t allocated = -1;
    for (int round = 0; round < kMostRounds && allocated != 0; ++round) {
      const std::int64_t before = allocations_so_far();
      for (int step = 0; step < kSteps; ++step) queue.next();
      allocated = allocations_so_far() - before;
    }
    EXPECT_EQ(allocated, 0) << threads << " threads";
  }
}

}  // namespace
}  // namespace lockstep
