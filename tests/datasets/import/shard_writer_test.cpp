// The shard writer: what lies in the files, in which order, and that all of them appear or none.
#include "datasets/import/shard_writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <set>

#include "core/base/file.h"
#include "core/base/hash.h"
#include "tests/datasets/shards.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

// x of sample i is (i, -i), y is i % 3.
class Counting : public SampleSource {
 public:
  explicit Counting(std::int64_t size, bool series = false, std::int64_t broken = -1)
      : broken_(broken) {
    size_ = size;
    is_series_ = series;
    arrays_ = {
        {"x", DType::kI32, Shape{2}, {{"feature_names", std::vector<std::string>{"a", "b"}}}},
        {"y", DType::kU8, {}, {{"classes", std::int64_t{3}}, {"scale", 0.5}}}};
  }
  void read(std::size_t array, Range rows, std::byte* to) override {
    if (rows.begin <= broken_ && broken_ < rows.end) bad_input("sample ", broken_, " is broken");
    for (std::int64_t i = rows.begin; i < rows.end; ++i) {
      if (array == 1) {
        *to++ = static_cast<std::byte>(i % 3);
        continue;
      }
      const std::int32_t values[] = {static_cast<std::int32_t>(i), -static_cast<std::int32_t>(i)};
      std::memcpy(to, values, sizeof(values));
      to += sizeof(values);
    }
  }

 private:
  std::int64_t broken_;
};

class ShardWriterTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_.path(name); }
  ShardOptions options() const { return {.output = path("out"), .name = "set", .source = "test"}; }

  // The numbers of the samples of a set, in the order of its files.
  static std::vector<std::int32_t> ids(const WrittenSet& set) {
    std::vector<std::int32_t> out;
    for (const std::string& file : set.files) {
      const std::vector<std::byte> x = Hdf5File(file).read("x");
      for (std::size_t at = 0; at < x.size(); at += 8) {
        std::int32_t id = 0;
        std::memcpy(&id, x.data() + at, sizeof(id));
        out.push_back(id);
      }
    }
    return out;
  }
  // Everything in the output folder, hidden or not.
  std::set<std::string> entries() const {
    std::set<std::string> out;
    if (!is_directory(path("out"))) return out;
    for (const auto& entry : fs::directory_iterator(path("out")))
      out.insert(entry.path().filename().string());
    return out;
  }

  TemporaryDirectory directory_;
};

TEST_F(ShardWriterTest, ValuesAttributesAndChecksums) {
  Counting source(10);
  ShardOptions given = options();
  given.shards = 3;
  const auto sets = write_shards(source, given);
  ASSERT_EQ(sets.size(), 1u);
  EXPECT_EQ(sets[0].samples, 10);
  EXPECT_EQ(ids(sets[0]), (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(entries(), (std::set<std::string>{"set-00000-of-00003.h5", "set-00001-of-00003.h5",
                                              "set-00002-of-00003.h5"}));
  for (const std::string& path : sets[0].files) {
    const Hdf5File file(path);
    for (const char* array : {"x", "y"}) {
      EXPECT_EQ(file.text(array, "xxh3"), hex_of(xxh3(file.read(array))));
      EXPECT_EQ(file.array(array).chunk.rank(), 0);
    }
    EXPECT_EQ(file.texts("x", "feature_names"), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(file.integer("y", "classes"), 3);
    EXPECT_EQ(file.real("y", "scale"), 0.5);
    EXPECT_EQ(file.text("", "name"), "set");
    EXPECT_EQ(file.text("", "source"), "test");
  }
  EXPECT_EQ(sets[0].fingerprint, Dataset::open(path("out"))->fingerprint());
}

TEST_F(ShardWriterTest, CompressedChunksHoldWholeRows) {
  Counting source(200000);
  ShardOptions given = options();
  given.compress = 1;
  const auto sets = write_shards(source, given);
  const Hdf5File file(sets[0].files[0]);
  EXPECT_EQ(file.array("x").chunk, (Shape{65536, 2}));  // 512 KiB
  EXPECT_EQ(file.array("x").filters, (std::vector<std::string>{"shuffle", "gzip 1"}));
  EXPECT_EQ(file.array("y").filters, (std::vector<std::string>{"gzip 1"}));
  EXPECT_EQ(file.text("x", "xxh3"), hex_of(xxh3(file.read("x"))));
  const auto all = ids(sets[0]);
  ASSERT_EQ(all.size(), 200000u);
  for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], static_cast<std::int32_t>(i));
}

TEST_F(ShardWriterTest, ShuffledAndSplitBySeedWhateverTheShards) {
  std::vector<std::vector<WrittenSet>> written;
  for (const auto& [shards, seed] : {std::pair{1, 7}, {4, 7}, {4, 8}}) {
    Counting source(1000);
    ShardOptions given = options();
    given.shards = shards;
    given.seed = static_cast<std::uint64_t>(seed);
    given.shuffle = true;
    given.test_fraction = 0.25;
    given.overwrite = true;
    written.push_back(write_shards(source, given));
    ASSERT_EQ(written.back().size(), 2u);
    const auto train = ids(written.back()[0]), test = ids(written.back()[1]);
    EXPECT_EQ(train.size(), 750u);
    EXPECT_EQ(test.size(), 250u);
    EXPECT_FALSE(std::ranges::is_sorted(train));
    std::set<std::int32_t> all(train.begin(), train.end());
    all.insert(test.begin(), test.end());
    EXPECT_EQ(all.size(), 1000u);
  }
  EXPECT_EQ(written[0][0].name, "set-train");
  EXPECT_EQ(written[1][1].files.size(), 1u);  // a third of four
  EXPECT_EQ(written[0][0].fingerprint, written[1][0].fingerprint);
  EXPECT_EQ(written[0][1].fingerprint, written[1][1].fingerprint);
  EXPECT_NE(written[1][1].fingerprint, written[2][1].fingerprint);
  EXPECT_EQ(entries().size(), 5u);  // the set of one shard was replaced
  EXPECT_EQ(Dataset::open(path("out/set-train-*.h5"))->size(), 750);
}

TEST_F(ShardWriterTest, StratifiedSplitKeepsTheShareOfEveryClass) {
  Counting source(300);
  ShardOptions given = options();
  given.test_fraction = 0.2;
  given.stratify = true;
  const auto sets = write_shards(source, given);
  std::vector<int> counts(3);
  for (const std::int32_t id : ids(sets[1])) ++counts[static_cast<std::size_t>(id % 3)];
  EXPECT_EQ(counts, (std::vector<int>{20, 20, 20}));
  EXPECT_TRUE(std::ranges::is_sorted(ids(sets[1])));
}

TEST_F(ShardWriterTest, SeriesIsCutAtItsEnd) {
  Counting source(10, true);
  ShardOptions given = options();
  given.test_fraction = 0.3;
  const auto sets = write_shards(source, given);
  EXPECT_EQ(ids(sets[0]), (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(ids(sets[1]), (std::vector<std::int32_t>{7, 8, 9}));
  given.overwrite = true;
  given.shuffle = true;
  EXPECT_EQ(message_of([&] { write_shards(source, given); }).find("the rows are a series"), 0u);
  given.shuffle = false;
  given.stratify = true;
  EXPECT_EQ(message_of([&] { write_shards(source, given); }).find("the rows are a series"), 0u);
}

TEST_F(ShardWriterTest, RefusesWhatDoesNotFit) {
  Counting source(4), none(0);
  const auto refused = [&](const auto& change) {
    ShardOptions given = options();
    change(given);
    return message_of([&] { write_shards(source, given); });
  };
  EXPECT_EQ(refused([](auto& o) { o.shards = 0; }),
            "the number of shards is 0, expected 1 .. 99999");
  EXPECT_EQ(refused([](auto& o) { o.shards = 5; }), "test: 4 samples do not fill 5 shards");
  EXPECT_EQ(refused([](auto& o) { o.compress = 10; }),
            "the level of compression is 10, expected 0 .. 9");
  EXPECT_EQ(refused([](auto& o) { o.test_fraction = 1; }),
            "the test part is 1, expected at least 0 and less than 1");
  EXPECT_EQ(refused([](auto& o) { o.stratify = true; }),
            "only a split can be stratified; give the fraction of the test part");
  EXPECT_EQ(refused([](auto& o) { o.name = "a/b"; }),
            "the name \"a/b\" has a slash; give the directory as the output");
  EXPECT_EQ(message_of([&] { write_shards(none, options()); }), "there are no samples to write");
  EXPECT_TRUE(entries().empty());
  write_shards(source, options());
  EXPECT_EQ(message_of([&] { write_shards(source, options()); }),
            path("out/set-00000-of-00001.h5") +
                ": exists already; give another name or output, or allow overwriting");
}

// Arrays that nothing is ever read of.
class Named : public SampleSource {
 public:
  explicit Named(std::vector<SourceArray> arrays) {
    size_ = 4;
    arrays_ = std::move(arrays);
  }
  void read(std::size_t, Range, std::byte*) override { FAIL() << "read"; }
};

TEST_F(ShardWriterTest, RefusesArraysThatCannotBeStored) {
  const auto refused = [&](std::vector<SourceArray> arrays) {
    Named source(std::move(arrays));
    return message_of([&] { write_shards(source, options()); });
  };
  for (const char* name : {"", "a/b", ".", "..", "/"}) {
    EXPECT_EQ(refused({{name, DType::kU8, {}}}),
              text("an array is named \"", name, "\"; expected a name without slashes"));
  }
  EXPECT_EQ(refused({{"x", DType::kU8, {}}, {"x", DType::kU8, {}}}), "two arrays are named \"x\"");
  EXPECT_EQ(refused({{"x", DType::kF64, Shape{1 << 20, 1 << 10}}}),
            "a sample of \"x\" takes 8589934592 bytes, expected at most 2147483648");
  EXPECT_TRUE(entries().empty());
}

TEST_F(ShardWriterTest, AnErrorInTheMiddleLeavesTheOldSetAlone) {
  Counting good(10), broken(10, false, 8);
  ShardOptions given = options();
  given.shards = 2;
  const auto before = write_shards(good, given);
  given.overwrite = true;
  given.compress = 3;
  EXPECT_EQ(message_of([&] { write_shards(broken, given); }), "sample 8 is broken");
  EXPECT_EQ(entries(), (std::set<std::string>{"set-00000-of-00002.h5", "set-00001-of-00002.h5"}));
  EXPECT_TRUE(Hdf5File(before[0].files[0]).array("x").filters.empty());
}

TEST_F(ShardWriterTest, ProgressRisesAndMayStop) {
  Counting source(500000);
  ShardOptions given = options();
  given.shards = 2;
  std::int64_t last = -1;
  write_shards(source, given, [&](std::int64_t done, std::int64_t all) {
    EXPECT_GE(done, last);
    EXPECT_EQ(all, 500000);
    last = done;
  });
  EXPECT_EQ(last, 500000);
  given.overwrite = true;
  const auto before = entries();
  EXPECT_EQ(message_of(
                [&] {
                  write_shards(source, given, [](std::int64_t done, std::int64_t) {
                    if (done > 300000) environment_failed("stopped");
                  });
                },
                ErrorKind::kEnvironment),
            "stopped");
  EXPECT_EQ(entries(), before);
}

TEST_F(ShardWriterTest, AKilledProcessLeavesNoShardAndTheNextOneCleansUp) {
  const pid_t child = ::fork();
  if (child == 0) {
    Counting source(500000);
    ShardOptions given = options();
    given.shards = 4;
    write_shards(source, given, [](std::int64_t done, std::int64_t) {
      if (done > 300000) ::raise(SIGKILL);
    });
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(list_files(path("out")).empty());
  EXPECT_EQ(entries().size(), 1u);
  EXPECT_TRUE(entries().begin()->starts_with(".set.importing-"));
  // A folder that a living process holds stays.
  fs::create_directory(path("out/.set.importing-live"));
  const int live = ::open(path("out/.set.importing-live/lock").c_str(), O_RDWR | O_CREAT, 0666);
  ASSERT_EQ(::flock(live, LOCK_EX), 0);
  Counting source(10);
  write_shards(source, options());
  EXPECT_EQ(entries(), (std::set<std::string>{".set.importing-live", "set-00000-of-00001.h5"}));
  ::close(live);
}

// In a process of its own, for the limit is one of processes.
TEST_F(ShardWriterTest, AFullDiskIsToldAndLeavesNothing) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1 << 20, 1 << 20};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    int code = 1;
    try {
      Counting source(1000000);
      write_shards(source, options());
    } catch (const Error& error) {
      code = error.kind() == ErrorKind::kEnvironment &&
                     std::strstr(error.what(), "set-00000-of-00001.h5: ") != nullptr &&
                     std::string(error.what()).ends_with("file write failed: File too large")
                 ? 42
                 : 2;
    }
    std::exit(code);  // with all that the libraries do then
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
  EXPECT_TRUE(entries().empty());
}

TEST_F(ShardWriterTest, AnOutputThatCannotBeWrittenIsNamed) {
  local_files().write_atomic(path("file"), "");
  Counting source(3);
  ShardOptions given = options();
  given.output = path("file/below");
  EXPECT_EQ(message_of([&] { write_shards(source, given); }).find(path("file/below")), 0u);
}

}  // namespace
}  // namespace lockstep
