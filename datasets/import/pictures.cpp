#include "datasets/import/pictures.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <filesystem>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/settings.h"
#include "datasets/import/picture.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

// Entries of a folder looked at to see whether there are pictures.
constexpr int kGlances = 1000;

bool has_picture_ending(const fs::path& path) {
  std::string ending = path.extension().string();
  std::ranges::transform(ending, ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return ending == ".png" || ending == ".jpg" || ending == ".jpeg";
}

bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

struct Found {
  std::vector<std::string> pictures;  // sorted
  std::int64_t others = 0;            // files of other kinds
};

// The pictures in a folder and in those within it.
void find_pictures(const std::string& folder, bool deep, Found& found) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (is_hidden(entry->path())) continue;
    std::error_code ignored;
    if (entry->is_directory(ignored)) {
      if (deep && !entry->is_symlink(ignored)) find_pictures(entry->path().string(), true, found);
    } else if (has_picture_ending(entry->path())) {
      found.pictures.push_back(entry->path().string());
    } else {
      ++found.others;
    }
  }
  if (error) file_failed(folder, "list the directory", error.value());
}

// Names of the folders in a folder, sorted.
std::vector<std::string> folders_in(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (!is_hidden(entry->path()) && entry->is_directory(ignored))
      out.push_back(entry->path().filename().string());
  }
  if (error) file_failed(folder, "list the directory", error.value());
  std::ranges::sort(out);
  return out;
}

class PicturesSource : public SampleSource {
 public:
  PicturesSource(const std::string& folder, const FormatOptions& options) : options_(options) {
    find(folder);
    size_ = static_cast<std::int64_t>(files_.size());
    const auto resize = options.shape("resize", 2);
    check_input(!resize || resize->rank() == 2, "--resize: found ", options.word("resize"),
                ", expected H,W");
    const std::size_t colour = options.choice("colour", {"auto", "grey", "rgb"}, "auto");
    std::int64_t channels = colour == 2 ? 3 : 1;
    if (!resize || colour == 0) {
      for (const std::string& file : files_) {
        const PictureHeader header = picture_header(file);
        if (height_ == 0) std::tie(height_, width_) = std::pair(header.height, header.width);
        const bool equal = header.height == height_ && header.width == width_;
        check_input(resize || equal, file, ": has ", header.height, " x ", header.width,
                    " pixels (height x width), but ", files_[0], " has ", height_, " x ", width_,
                    "; give --resize H,W");
        if (colour == 0) channels = std::max(channels, header.channels);
      }
    }
    if (resize) std::tie(height_, width_) = std::pair((*resize)[0], (*resize)[1]);
    check_input(height_ * width_ <= kMaxPicturePixels, "--resize: ", options.word("resize"),
                " has too many pixels");
    arrays_.insert(arrays_.begin(), {"x", DType::kU8, Shape{height_, width_, channels}});
  }

  void read(std::size_t array, Range rows, std::byte* to) override {
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      const auto i = static_cast<std::size_t>(row);
      if (array == 1) {
        std::memcpy(to, &labels_[i], sizeof(labels_[i]));
        to += sizeof(labels_[i]);
        continue;
      }
      Picture picture = decode_picture(files_[i], local_files().read(files_[i]));
      check_input(options_.has("resize") || (picture.height == height_ && picture.width == width_),
                  files_[i], ": was changed while it was read");
      picture = resized(with_channels(std::move(picture), arrays_[0].sample[2]), height_, width_);
      std::memcpy(to, picture.pixels.data(), picture.pixels.size());
      to += picture.pixels.size();
    }
  }

 private:
  // Finds files and labels, and declares y.
  void find(const std::string& folder) {
    Found top;
    find_pictures(folder, false, top);
    const std::vector<std::string> folders = folders_in(folder);
    if (!top.pictures.empty()) {
      check_input(folders.empty(), folder, ": has pictures and folders (\"",
                  folders.empty() ? "" : folders[0],
                  "\"); expected either, a folder for each class or none");
      check_input(!options_.has("classes"), "--classes: there are no folders of classes in ",
                  folder);
    }
    std::vector<std::string> classes = folders;
    if (options_.has("classes")) {
      classes = options_.list("classes");
      for (const std::string& found : folders) {
        check_input(std::ranges::find(classes, found) != classes.end(), folder, ": the folder \"",
                    found, "\" is none of the classes of --classes");
      }
      for (const std::string& wanted : classes) {
        const std::string nearest = nearest_name(wanted, folders);
        check_input(std::ranges::find(folders, wanted) != folders.end(), folder,
                    ": has no folder \"", wanted, '"',
                    nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?");
        check_input(std::ranges::count(classes, wanted) == 1, "--classes: \"", wanted,
                    "\" is named twice");
      }
    }
    std::int64_t others = top.others;
    std::ranges::sort(top.pictures);
    files_ = std::move(top.pictures);
    for (std::size_t label = 0; label < classes.size(); ++label) {
      Found found;
      const std::string inside = (fs::path(folder) / classes[label]).string();
      find_pictures(inside, true, found);
      check_input(!found.pictures.empty(), inside, ": this folder of a class has no pictures");
      std::ranges::sort(found.pictures);
      files_.insert(files_.end(), found.pictures.begin(), found.pictures.end());
      labels_.resize(files_.size(), static_cast<std::int32_t>(label));
      others += found.others;
    }
    check_input(!files_.empty(), folder, ": has no pictures (*.png, *.jpg, *.jpeg)");
    if (others > 0) notes_.push_back(text(others, " files that are no pictures were passed over"));
    if (!classes.empty()) arrays_.push_back({"y", DType::kI32, {}, {{"class_names", classes}}});
  }

  FormatOptions options_;
  std::vector<std::string> files_;
  std::vector<std::int32_t> labels_;  // of each file; empty without classes
  std::int64_t height_ = 0, width_ = 0;
};

std::unique_ptr<SampleSource> open(const ImportRequest& request) {
  check_input(request.paths.size() == 1, request.paths.back(),
              ": one folder of pictures is imported at a time");
  check_input(is_directory(request.paths[0]), request.paths[0],
              ": is a file, expected a folder with a folder for each class");
  return std::make_unique<PicturesSource>(request.paths[0], request.options);
}

bool recognises(const ImportInput& input) {
  if (!input.is_directory) return false;
  std::error_code error;
  int left = kGlances;
  for (fs::recursive_directory_iterator entry(input.path, error), end;
       !error && entry != end && left > 0; entry.increment(error), --left) {
    std::error_code ignored;
    if (has_picture_ending(entry->path()) && !entry->is_directory(ignored)) return true;
  }
  return false;
}

}  // namespace

ImportFormat pictures_format() {
  return {"pictures",
          "PNG and JPEG files in a folder for each class",
          {{"resize", "H,W", "make all pictures this high and wide (bilinear)"},
           {"colour", "auto|grey|rgb", "channels; auto is grey where all pictures are"},
           {"classes", "A,B,...", "the folders in the order of their numbers; without it sorted"}},
          recognises,
          open};
}

}  // namespace lockstep
