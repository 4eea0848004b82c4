// The fuzz targets on the inputs that are kept for them, and on some mutations of those.
#include <gtest/gtest.h>

#include <exception>
#include <string>
#include <vector>

#include "core/base/file.h"
#include "tests/core/temporary_directory.h"
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/targets.h"

namespace lockstep {
namespace {

constexpr int kMutations = 1000;  // of each target

class FuzzReplay : public testing::TestWithParam<fuzz::NamedTarget> {
 protected:
  struct Input {
    std::string name, bytes;
  };

  static std::vector<Input> corpus() {
    const std::string folder =
        std::string(LOCKSTEP_SOURCE_DIR) + "/tests/fuzz/corpus/" + std::string(GetParam().name);
    std::vector<Input> out;
    for (const std::string& name : list_files(folder))
      out.push_back({name, fuzz::read_file(folder + "/" + name)});
    return out;
  }

  // Where it ends by a signal, the input is left in the folder of temporary files.
  void run(const std::string& about, const std::string& bytes) const {
    const std::string path = folder_.path("input");
    fuzz::write_file(path, bytes);
    try {
      GetParam().run(path);
    } catch (const std::exception& error) {
      ADD_FAILURE() << about << ": " << error.what();
    }
  }

  TemporaryDirectory folder_;
};

TEST_P(FuzzReplay, KeptInputs) {
  const std::vector<Input> inputs = corpus();
  EXPECT_GE(inputs.size(), 3u);
  for (const Input& input : inputs) run(input.name, input.bytes);
}

TEST_P(FuzzReplay, Mutations) {
  std::vector<Input> inputs = corpus();
  // The HDF5 library does not survive every damage to metadata. That of the format of 1.10 has
  // checksums; what lies beside it is Lockstep's to read.
  std::erase_if(inputs, [](const Input& input) {
    return GetParam().name == "hdf5" && !input.name.ends_with("-v110.h5");
  });
  ASSERT_FALSE(inputs.empty());
  for (int i = 0; i < kMutations; ++i) {
    const Input& input = inputs[static_cast<std::size_t>(i) % inputs.size()];
    const Input& other = inputs[static_cast<std::size_t>(7 * i + 1) % inputs.size()];
    fuzz::Mutator mutator(static_cast<std::uint64_t>(i));
    run(text("mutation ", i, " of ", input.name), mutator.mutate(input.bytes, other.bytes));
  }
}

// A target that accepts anything, or refuses anything, would find nothing.
TEST(FuzzTargets, RefusalsAreTold) {
  const auto told = [](const std::string& message) {
    try {
      fuzz::read_or_refuse("file", [&] { bad_input(message); });
    } catch (const std::logic_error&) {
      return true;
    }
    return false;
  };
  EXPECT_FALSE(told("file: line 3: no number"));
  EXPECT_TRUE(told("another: line 3: no number"));
  EXPECT_THROW(fuzz::read_or_refuse("file", [] { broken_invariant("file: x"); }), std::logic_error);
  EXPECT_THROW(fuzz::read_or_refuse("file", [] { throw std::bad_alloc(); }), std::bad_alloc);
}

INSTANTIATE_TEST_SUITE_P(Targets, FuzzReplay, testing::ValuesIn(fuzz::kTargets),
                         [](const auto& about) { return std::string(about.param.name); });

}  // namespace
}  // namespace lockstep
