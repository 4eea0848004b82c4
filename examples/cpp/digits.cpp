// A network for the bundled handwritten digits, built and trained from C++.
//
//   cmake -S examples/cpp -B build/example -DCMAKE_PREFIX_PATH=<where Lockstep is installed>
//   cmake --build build/example && build/example/digits
#include <lockstep/launcher/lockstep.h>

#include <algorithm>
#include <cstdio>

using namespace lockstep;

int main() try {
  const auto digits = Dataset::open("digits");  // images (8, 8, 1) and their labels
  const Split parts = split(42, digits->size(), 0.2);
  const Subset train{digits, parts.train}, test{digits, parts.test};

  const Sequential model({
      conv2d({.filters = 32, .kernel_size = {3, 3}, .padding = "same", .activation = "relu"}),
      max_pooling2d({}),
      conv2d({.filters = 64, .kernel_size = {3, 3}, .padding = "same", .activation = "relu"}),
      flatten(),
      dense({.units = 64, .activation = "relu"}),
      dense({.units = 10}),
  });

  Trainer trainer(model, {.loss = "softmax_cross_entropy",
                          .optimizer = {.kind = "adam"},
                          .learning_rate = {.initial = 0.002},
                          .epochs = 6,
                          .normalize = {.kind = "scale", .axis = "array", .factor = 1.0 / 16}});
  trainer.fit(train, test);

  const double accuracy = trainer.evaluate(test).at("accuracy");
  const std::vector<float> logits = trainer.predict(test);
  const auto first = std::max_element(logits.begin(), logits.begin() + 10) - logits.begin();
  std::printf("accuracy %.4f; the first held-out digit is a %d\n", accuracy, static_cast<int>(first));
  return accuracy > 0.95 ? 0 : 1;
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
