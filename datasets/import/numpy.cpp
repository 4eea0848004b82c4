#include "datasets/import/numpy.h"

#include <zip.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/base/settings.h"
#include "datasets/import/npy_array.h"

namespace lockstep {
namespace {

struct NamedArray {
  std::string name;  // in the dataset
  NpyArray array;
};

class NumpySource : public SampleSource {
 public:
  NumpySource(std::vector<NamedArray> arrays, const FormatOptions& options)
      : files_(std::move(arrays)) {
    const NpyArray& first = files_[0].array;
    size_ = first.shape()[0];
    for (const NamedArray& each : files_) {
      const Shape& shape = each.array.shape();
      if (shape[0] != size_) unequal();
      Shape sample = shape.slice(1, shape.rank());
      const auto given = options.shape("sample-shape");
      if (given && each.name == "x") {
        check_input(given->elements() == sample.elements(), each.array.path(), ": samples of ",
                    sample, " do not make samples of ", *given);
        sample = *given;
      }
      arrays_.push_back({each.name, each.array.dtype(), sample});
      if (each.name == "y" && options.has("classes"))
        arrays_.back().attributes.emplace_back("class_names", options.list("classes"));
    }
  }

  void read(std::size_t array, Range rows, std::byte* to) override {
    files_[array].array.read(rows, to);
  }

 private:
  [[noreturn]] void unequal() const {
    std::string all;
    for (const NamedArray& each : files_) {
      all += text(all.empty() ? "" : ", ", each.name, " ", each.array.shape()[0]);
    }
    bad_input(files_[0].array.path(), ": the arrays have unequal numbers of samples: ", all,
              "; choose with --x and --y");
  }

  std::vector<NamedArray> files_;
};

std::unique_ptr<SampleSource> open_npy(const ImportRequest& request) {
  check_input(request.paths.size() == 1, request.paths.back(),
              ": one array is imported as x; that of the targets is --y FILE.npy");
  std::vector<NamedArray> arrays;
  const auto add = [&](const std::string& name, const std::string& path) {
    arrays.push_back(
        {name, NpyArray(std::make_unique<InputFile>(path, request.scratch), request.scratch)});
  };
  add("x", request.paths[0]);
  if (request.options.has("y")) add("y", request.options.word("y"));
  return std::make_unique<NumpySource>(std::move(arrays), request.options);
}

// ---- .npz --------------------------------------------------------------------------------------

struct CloseZip {
  void operator()(zip_t* archive) const { zip_discard(archive); }
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};

class Archive {
 public:
  explicit Archive(const std::string& path) : path_(path) {
    int code = 0;
    zip_.reset(zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code));
    if (zip_) return;
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    bad_input(path, ": is no zip archive that can be read: ", reason);
  }

  // Names of the arrays, without ".npy", in the order of the archive.
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (zip_int64_t i = 0; i < zip_get_num_entries(zip_.get(), 0); ++i) {
      const char* name = zip_get_name(zip_.get(), static_cast<zip_uint64_t>(i), 0);
      const std::string word = name == nullptr ? "" : name;
      if (word.ends_with(".npy")) out.push_back(word.substr(0, word.size() - 4));
    }
    return out;
  }

  NpyArray array(const std::string& name, const std::string& scratch) const {
    const std::string where = path_ + ": array \"" + name + '"';
    const std::unique_ptr<zip_file_t, CloseZip> file(
        zip_fopen(zip_.get(), (name + ".npy").c_str(), 0));
    if (!file) bad_input(where, ": cannot be read: ", zip_strerror(zip_.get()));
    auto spool = std::make_unique<Spool>(scratch);
    std::vector<std::byte> block(std::size_t{1} << 20);
    while (true) {
      const zip_int64_t got = zip_fread(file.get(), block.data(), block.size());
      if (got < 0) bad_input(where, ": cannot be unpacked: ", zip_file_strerror(file.get()));
      if (got == 0) break;
      spool->append(std::span(block).first(static_cast<std::size_t>(got)));
    }
    return NpyArray(std::make_unique<InputFile>(where, std::move(spool)), scratch);
  }

 private:
  std::string path_;
  std::unique_ptr<zip_t, CloseZip> zip_;
};

// In a shard the names are paths: "a/b" is b in the group a.
void check_names(const std::string& path, std::vector<std::string> names) {
  for (const std::string& name : names) {
    const std::string within = '/' + name + '/';
    check_input(within.find("//") == std::string::npos && within.find("/./") == std::string::npos,
                path, ": an array is named \"", name,
                "\", which is no name for an array of a shard; choose arrays with --x and --y");
  }
  for (std::string& name : names) name += '/';
  std::ranges::sort(names);
  for (std::size_t i = 1; i < names.size(); ++i) {
    check_input(!names[i].starts_with(names[i - 1]), path, ": arrays are named \"",
                names[i - 1].substr(0, names[i - 1].size() - 1), "\" and \"",
                names[i].substr(0, names[i].size() - 1),
                "\", which a shard cannot hold together; choose arrays with --x and --y");
  }
}

std::unique_ptr<SampleSource> open_npz(const ImportRequest& request) {
  check_input(request.paths.size() == 1, request.paths.back(),
              ": archives of NumPy are imported one by one");
  const std::string& path = request.paths[0];
  const Archive archive(path);
  const std::vector<std::string> names = archive.names();
  check_input(!names.empty(), path, ": has no arrays (*.npy)");
  std::vector<std::pair<std::string, std::string>> chosen;  // name in the dataset, in the archive
  for (const char* option : {"x", "y"}) {
    if (!request.options.has(option)) continue;
    const std::string name = request.options.word(option);
    if (std::ranges::find(names, name) == names.end()) {
      std::string all;
      for (const std::string& known : names) all += (all.empty() ? "" : ", ") + known;
      bad_input(path, ": has no array \"", name, "\"; it has ", all);
    }
    chosen.emplace_back(option, name);
  }
  if (chosen.empty()) {
    check_names(path, names);
    const bool unnamed = std::ranges::all_of(names, [&](const std::string& name) {
      return names.size() <= 2 && (name == "arr_0" || name == "arr_1");
    });
    for (const std::string& name : names) {
      chosen.emplace_back(!unnamed ? name : name == "arr_0" ? "x" : "y", name);
    }
  }
  std::vector<NamedArray> arrays;
  for (const auto& [name, stored] : chosen) {
    arrays.push_back({name, archive.array(stored, request.scratch)});
  }
  return std::make_unique<NumpySource>(std::move(arrays), request.options);
}

}  // namespace

ImportFormat npy_format() {
  return {"npy",
          "an array of NumPy: x",
          {{"y", "FILE.npy", "the array of the targets"},
           {"classes", "A,B,...", "names of the labels in the order of their numbers"},
           {"sample-shape", "H,W,C", "shape of a sample of x"}},
          [](const ImportInput& input) { return input.head.starts_with("\x93NUMPY"); },
          open_npy};
}

ImportFormat npz_format() {
  return {"npz",
          "an archive of NumPy: all its arrays, or two of them",
          {{"x", "NAME", "the array that becomes x"},
           {"y", "NAME", "the array that becomes y"},
           {"classes", "A,B,...", "names of the labels in the order of their numbers"},
           {"sample-shape", "H,W,C", "shape of a sample of x"}},
          [](const ImportInput& input) {
            return input.path.ends_with(".npz") || input.head.starts_with("PK\x03\x04");
          },
          open_npz};
}

}  // namespace lockstep
