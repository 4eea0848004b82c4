// The configurations in examples/: all of them read back what they write, and those that
// learning_test does not train reach what they promise, run as a user runs them.
#include <gtest/gtest.h>

#include <filesystem>

#include "launcher/config.h"
#include "launcher/summary.h"
#include "launcher/toml.h"
#include "ops/register.h"
#include "tests/launcher/program_test.h"

namespace lockstep {
namespace {

std::string path_of(const std::string& example) {
  return std::string(LOCKSTEP_SOURCE_DIR) + "/examples/" + example + ".toml";
}

Config read_example(const std::string& toml, const std::string& name) {
  LayerRegistry layers;
  register_layers(layers);
  const std::shared_ptr<Settings> root = parse_toml(toml, name);
  return read_config(*root, layers);
}

class ExampleTest : public ProgramTest {
 protected:
  // Trains the example on one worker and returns what its summary says.
  Summary train(const std::string& example) {
    EXPECT_EQ(run({"train", path_of(example), "--run", "run", "--device", "cpu"}), 0)
        << content_of("../err");
    return read_summary("run/summary.json");
  }
};

double score(const Summary& summary, const std::string& metric) {
  for (const auto& [name, value] : summary.evaluation) {
    if (name == metric) return value;
  }
  ADD_FAILURE() << "no metric " << metric;
  return 0.0;
}

TEST(Examples, ReadBackWhatTheyWrite) {
  int examples = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(LOCKSTEP_SOURCE_DIR) + "/examples")) {
    if (entry.path().extension() != ".toml") continue;
    const Config first = read_example(content_of(entry.path()), entry.path().string());
    const Config second = read_example(first.toml, "config.toml");
    EXPECT_EQ(second.toml, first.toml) << entry.path();
    EXPECT_EQ(second.model.layers().size(), first.model.layers().size());
    ++examples;
  }
  EXPECT_GE(examples, 5);
}

TEST_F(ExampleTest, DigitsMlp) {
  EXPECT_GE(score(train("digits-mlp"), "accuracy"), 0.97);
}

TEST_F(ExampleTest, DigitsResnet) {
  EXPECT_GE(score(train("digits-resnet"), "accuracy"), 0.98);
}

}  // namespace
}  // namespace lockstep
