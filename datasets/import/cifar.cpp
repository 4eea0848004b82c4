#include "datasets/import/cifar.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "core/base/error.h"
#include "core/base/file.h"
#include "datasets/import/input_file.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSide = 32, kPixels = kSide * kSide, kImageBytes = 3 * kPixels;

// What tells the two sets apart.
struct Kind {
  std::string name;
  struct Label {
    std::string array;
    std::int64_t classes;
    std::string names;  // the file beside that lists them
    std::int64_t at;    // byte of the record
  };
  std::vector<Label> labels;
  std::vector<std::string> train, test;  // files of the folder

  std::int64_t record_bytes() const {
    return static_cast<std::int64_t>(labels.size()) + kImageBytes;
  }
};

const Kind& cifar10() {
  static const Kind kind = {"CIFAR-10",
                            {{"y", 10, "batches.meta.txt", 0}},
                            {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                             "data_batch_4.bin", "data_batch_5.bin"},
                            {"test_batch.bin"}};
  return kind;
}

const Kind& cifar100() {
  static const Kind kind = {
      "CIFAR-100",
      {{"y", 100, "fine_label_names.txt", 1}, {"y_coarse", 20, "coarse_label_names.txt", 0}},
      {"train.bin"},
      {"test.bin"}};
  return kind;
}

// The lines of a file of names, none where it is not there.
std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> out;
  if (!is_file(path) || file_size(path) > 65536) return out;
  std::istringstream lines(local_files().read(path));
  for (std::string line; std::getline(lines, line);) {
    line.erase(line.find_last_not_of(" \r\t") + 1);
    if (!line.empty()) out.push_back(line);
  }
  return out;
}

class CifarSource : public SampleSource {
 public:
  CifarSource(const Kind& kind, const std::vector<std::string>& paths, const std::string& scratch)
      : kind_(kind) {
    for (const std::string& path : paths) {
      auto file = std::make_unique<InputFile>(path, scratch);
      const auto bytes = static_cast<std::int64_t>(file->size());
      check_input(bytes > 0, path, ": is empty");
      check_input(bytes % kind.record_bytes() == 0, path, ": has ", bytes,
                  " bytes, which is no whole number of ", kind.name, " records of ",
                  kind.record_bytes(), " bytes; is it truncated?");
      begins_.push_back(size_);
      size_ += bytes / kind.record_bytes();
      files_.push_back(std::move(file));
    }
    arrays_.push_back({"x", DType::kU8, Shape{kSide, kSide, 3}});
    for (const Kind::Label& label : kind.labels) {
      arrays_.push_back({label.array, DType::kU8, {}});
      const auto names = names_in((fs::path(paths[0]).parent_path() / label.names).string());
      if (static_cast<std::int64_t>(names.size()) == label.classes)
        arrays_.back().attributes.emplace_back("class_names", names);
    }
  }

  void read(std::size_t array, Range rows, std::byte* to) override {
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      const auto file =
          static_cast<std::size_t>(std::ranges::upper_bound(begins_, row) - begins_.begin() - 1);
      const std::int64_t record = row - begins_[file];
      const auto at = static_cast<std::uint64_t>(record * kind_.record_bytes());
      if (array == 0) {
        read_image(*files_[file], at + kind_.labels.size(), to);
        to += kImageBytes;
        continue;
      }
      const Kind::Label& label = kind_.labels[array - 1];
      files_[file]->read(at + static_cast<std::uint64_t>(label.at), 1, to);
      const int value = std::to_integer<int>(*to);
      check_input(value < label.classes, files_[file]->path(), ": record ", record, ": label ",
                  value, ", expected a number below ", label.classes, "; is it a ", kind_.name,
                  " file?");
      ++to;
    }
  }

 private:
  // (channel, row, column) becomes (row, column, channel).
  void read_image(const InputFile& file, std::uint64_t at, std::byte* to) {
    file.read(at, planes_.size(), planes_.data());
    for (std::int64_t pixel = 0; pixel < kPixels; ++pixel) {
      for (std::int64_t channel = 0; channel < 3; ++channel)
        *to++ = planes_[static_cast<std::size_t>(channel * kPixels + pixel)];
    }
  }

  const Kind& kind_;
  std::vector<std::unique_ptr<InputFile>> files_;
  std::vector<std::int64_t> begins_;  // first row of each file
  std::vector<std::byte> planes_ = std::vector<std::byte>(kImageBytes);
};

std::unique_ptr<SampleSource> open_kind(const Kind& kind, const ImportRequest& request) {
  const bool test = request.options.choice("part", {"train", "test"}, "train") == 1;
  std::vector<std::string> files;
  for (const std::string& path : request.paths) {
    if (!is_directory(path)) {
      check_input(!request.options.has("part"), "--part chooses among the files of a folder, but ",
                  path, " is a file");
      files.push_back(path);
      continue;
    }
    for (const std::string& name : test ? kind.test : kind.train) {
      files.push_back((fs::path(path) / name).string());
      check_input(is_file(files.back()), files.back(), ": no such file; expected the folder of ",
                  kind.name, " in its binary version");
    }
  }
  return std::make_unique<CifarSource>(kind, files, request.scratch);
}

// A folder that has the first training file, or a file *.bin of whole records with labels in range.
bool recognises(const Kind& kind, const ImportInput& input) {
  if (input.is_directory) {
    const fs::path folder(input.path);
    return is_file((folder / kind.train[0]).string()) || is_file((folder / kind.test[0]).string());
  }
  if (!input.path.ends_with(".bin") && !input.path.ends_with(".bin.gz")) return false;
  if (input.path.ends_with(".bin") &&
      file_size(input.path) % static_cast<std::uint64_t>(kind.record_bytes()) != 0)
    return false;
  for (std::size_t at = 0; at + kind.labels.size() <= input.head.size();
       at += static_cast<std::size_t>(kind.record_bytes())) {
    for (const Kind::Label& label : kind.labels) {
      const auto value =
          static_cast<std::uint8_t>(input.head[at + static_cast<std::size_t>(label.at)]);
      if (value >= label.classes) return false;
    }
  }
  return !input.head.empty();
}

std::vector<FormatOption> options_of_both() {
  return {{"part", "train|test", "which files of the folder (default train)"}};
}

}  // namespace

ImportFormat cifar10_format() {
  return {"cifar10", "CIFAR-10, binary version: files or their folder", options_of_both(),
          [](const ImportInput& input) { return recognises(cifar10(), input); },
          [](const ImportRequest& request) { return open_kind(cifar10(), request); }};
}

ImportFormat cifar100_format() {
  return {"cifar100", "CIFAR-100, binary version: files or their folder", options_of_both(),
          [](const ImportInput& input) { return recognises(cifar100(), input); },
          [](const ImportRequest& request) { return open_kind(cifar100(), request); }};
}

}  // namespace lockstep
