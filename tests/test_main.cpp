// The main function of tests that run on a device of choice.
#include <gtest/gtest.h>

#include <cstdio>
#include <exception>
#include <string_view>

#include "tests/test_device.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  std::string word = "cpu";
  constexpr std::string_view kOption = "--device=";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (!argument.starts_with(kOption)) {
      std::fprintf(stderr, "%s: expected --device=cpu|emulated|cuda, got %s\n", argv[0], argv[i]);
      return 2;
    }
    word = argument.substr(kOption.size());
  }
  try {
    lockstep::testing::choose_test_device(word);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
  std::printf("On the device %s: %s\n", word.c_str(), lockstep::testing::test_device().name().c_str());
  const int result = RUN_ALL_TESTS();
  lockstep::testing::release_test_device();
  return result;
}
