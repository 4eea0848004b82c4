// data.memory is kept: a file four times as large trains within it.
#include <gtest/gtest.h>

#include "core/base/hdf5/hdf5.h"
#include "launcher/summary.h"
#include "tests/launcher/program_test.h"

namespace lockstep {
namespace {

constexpr std::int64_t kRowBytes = 16384, kMebibyte = std::int64_t{1} << 20;

class MemoryBudget : public ProgramTest {
 protected:
  // An array of bytes of that size, and labels.
  static void write(const std::string& path, std::int64_t bytes, const Hdf5Layout& layout) {
    const std::int64_t rows = bytes / kRowBytes, each = 64;
    Hdf5Writer file(path);
    file.create("x", DType::kU8, {rows, kRowBytes}, layout);
    std::vector<std::uint8_t> some(static_cast<std::size_t>(each * kRowBytes));
    std::vector<std::int32_t> labels;
    for (std::int64_t row = 0; row < rows; row += each) {
      for (std::size_t i = 0; i < some.size(); ++i) some[i] = static_cast<std::uint8_t>(row + static_cast<std::int64_t>(i) / 97);
      file.write("x", row, std::min(row + each, rows), some.data());
    }
    for (std::int64_t row = 0; row < rows; ++row) labels.push_back(static_cast<std::int32_t>(row % 2));
    file.write("y", DType::kI32, {rows}, labels.data());
    file.commit();
  }

  // Largest memory of the process that trains an epoch.
  std::int64_t peak(const std::string& file, const std::string& memory) {
    std::ofstream("config.toml") << "[data]\ntrain = \"" << file << "\"\nnormalize = 255\nmemory = \"" << memory
                                 << "\"\nthreads = 2\n[train]\nepochs = 1\nloss = \"softmax_cross_entropy\"\n"
                                 << "[evaluate]\nbatch = 32\n[[layer]]\ntype = \"dense\"\nunits = 2\n";
    EXPECT_EQ(run({"train", "config.toml", "--run", "run", "--overwrite", "--quiet"}), 0) << content_of("../err");
    return read_summary("run/summary.json").peak_rss_bytes;
  }
};

TEST_F(MemoryBudget, FourTimesTheBudgetTrainsWithinIt) {
  const Hdf5Layout compressed{.chunk_rows = 16, .gzip = 1};
  write("small.h5", 2 * kMebibyte, compressed);
  const std::int64_t program = peak("small.h5", "16 MiB");
  for (const Hdf5Layout& layout : {compressed, Hdf5Layout{}}) {
    write("large.h5", 64 * kMebibyte, layout);
    const std::int64_t data = peak("large.h5", "16 MiB") - program;
    EXPECT_LE(data, 16 * kMebibyte) << (layout.gzip > 0 ? "gzip" : "contiguous");
    // The measure tells memory that is taken from memory that is not.
    EXPECT_GE(peak("large.h5", "1 GiB") - program, 50 * kMebibyte);
  }
}

}  // namespace
}  // namespace lockstep
