#include "datasets/import/idx.h"

#include <filesystem>
#include <optional>

#include "core/base/error.h"
#include "core/base/file.h"
#include "datasets/import/input_file.h"
#include "datasets/import/stored_element.h"

namespace lockstep {
namespace {

std::optional<StoredElement> element_of(std::uint8_t type) {
  using Kind = StoredElement::Kind;
  switch (type) {
    case 0x08:
      return StoredElement{Kind::kUnsigned, 1, true};
    case 0x09:
      return StoredElement{Kind::kSigned, 1, true};
    case 0x0B:
      return StoredElement{Kind::kSigned, 2, true};
    case 0x0C:
      return StoredElement{Kind::kSigned, 4, true};
    case 0x0D:
      return StoredElement{Kind::kFloat, 4, true};
    case 0x0E:
      return StoredElement{Kind::kFloat, 8, true};
    default:
      return std::nullopt;
  }
}

// One open IDX file.
class IdxFile {
 public:
  IdxFile(const std::string& path, const std::string& scratch) : file_(path, scratch) {
    std::uint8_t magic[4];
    file_.read(0, sizeof(magic), magic);
    const auto element = element_of(magic[2]);
    check_input(magic[0] == 0 && magic[1] == 0 && element, path,
                ": is not an IDX file: it begins with the bytes ", int{magic[0]}, " ",
                int{magic[1]}, " ", int{magic[2]}, ", expected 0 0 and a type (8, 9, 11 .. 14)");
    element_ = *element;
    const int rank = magic[3];
    check_input(rank >= 1 && rank < Shape::kMaxRank, path, ": has ", rank,
                " dimensions, expected 1 .. ", Shape::kMaxRank - 1);
    std::vector<std::int64_t> dims;
    std::uint64_t bytes = element_.bytes;
    bool fits = true;
    for (int axis = 0; axis < rank; ++axis) {
      std::uint8_t extent[4];
      file_.read(4 + 4 * static_cast<std::uint64_t>(axis), sizeof(extent), extent);
      std::int64_t value = 0;
      for (const std::uint8_t byte : extent) value = value << 8 | byte;
      check_input(value > 0, path, ": dimension ", axis, " is 0: there are no samples");
      fits = fits && !__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(value), &bytes);
      dims.push_back(value);
    }
    shape_ = Shape(std::span<const std::int64_t>(dims));
    begin_ = 4 + 4 * static_cast<std::uint64_t>(rank);
    check_input(fits && file_.size() - begin_ == bytes, path, ": has ", file_.size() - begin_,
                " bytes of elements, but ", shape_, " ", name_of(element_.dtype()), " takes ",
                fits ? text(bytes) : "more than 2^64", "; is it truncated?");
  }

  const std::string& path() const { return file_.path(); }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return element_.dtype(); }

  void read(Range rows, std::byte* to) {
    const std::int64_t row = shape_.elements(1, shape_.rank());
    const std::size_t row_bytes = static_cast<std::size_t>(row) * element_.bytes;
    room_.resize(static_cast<std::size_t>(rows.size()) * row_bytes);
    file_.read(begin_ + static_cast<std::uint64_t>(rows.begin) * row_bytes, room_.size(),
               room_.data());
    element_.convert(room_.data(), rows.size() * row, to);
  }

 private:
  InputFile file_;
  StoredElement element_;
  Shape shape_;
  std::uint64_t begin_ = 0;
  std::vector<std::byte> room_;
};

class IdxSource : public SampleSource {
 public:
  explicit IdxSource(std::vector<IdxFile> files, const FormatOptions& options)
      : files_(std::move(files)) {
    const Shape& x = files_[0].shape();
    size_ = x[0];
    Shape sample = x.slice(1, x.rank());
    if (x.rank() == 3) sample = sample.append(1);
    if (const auto given = options.shape("sample-shape")) {
      check_input(given->elements() == sample.elements(), files_[0].path(), ": samples of ", sample,
                  " do not make samples of ", *given);
      sample = *given;
    }
    arrays_.push_back({"x", files_[0].dtype(), sample});
    if (files_.size() == 1) {
      check_input(!options.has("classes"), "--classes: there are no labels; give --labels FILE");
      return;
    }
    arrays_.push_back({"y", files_[1].dtype(), {}});
    if (options.has("classes"))
      arrays_[1].attributes.emplace_back("class_names", options.list("classes"));
  }

  void read(std::size_t array, Range rows, std::byte* to) override { files_[array].read(rows, to); }

 private:
  std::vector<IdxFile> files_;
};

void replace(std::string& word, const std::string& what, const std::string& by) {
  const std::size_t at = word.rfind(what);
  if (at != std::string::npos) word.replace(at, what.size(), by);
}

// The file of labels that belongs to one of images; "" where there is none.
std::string labels_beside(const std::string& images) {
  const std::filesystem::path path(images);
  std::string name = path.filename().string();
  replace(name, "images", "labels");
  replace(name, "idx3", "idx1");
  if (name == path.filename()) return "";
  std::vector<std::string> names = {name, name + ".gz"};
  if (name.ends_with(".gz")) names.push_back(name.substr(0, name.size() - 3));
  for (const std::string& candidate : names) {
    const std::string beside = (path.parent_path() / candidate).string();
    if (is_file(beside)) return beside;
  }
  return "";
}

std::unique_ptr<SampleSource> open(const ImportRequest& request) {
  check_input(request.paths.size() == 1, request.paths.back(),
              ": one IDX file of images is imported at a time; the labels are --labels FILE");
  std::vector<IdxFile> files;
  files.emplace_back(request.paths[0], request.scratch);
  check_input(files[0].shape().rank() > 1, request.paths[0],
              ": holds one number a sample, so it is a file of labels; give the file of images, "
              "and this one with --labels");
  const std::string labels = request.options.word("labels", labels_beside(request.paths[0]));
  if (!labels.empty() && labels != "none") {
    IdxFile& file = files.emplace_back(labels, request.scratch);
    check_input(file.shape().rank() == 1, labels, ": has shape ", file.shape(),
                ", expected one label a sample");
    check_input(file.shape()[0] == files[0].shape()[0], labels, ": has ", file.shape()[0],
                " labels, but ", request.paths[0], " has ", files[0].shape()[0], " samples");
  }
  return std::make_unique<IdxSource>(std::move(files), request.options);
}

bool recognises(const ImportInput& input) {
  if (input.is_directory || input.head.size() < 8) return false;
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(input.head[i]); };
  return byte(0) == 0 && byte(1) == 0 && element_of(byte(2)) && byte(3) >= 1 && byte(3) <= 8;
}

}  // namespace

ImportFormat idx_format() {
  return {
      "idx",
      "IDX files, as of MNIST",
      {{"labels", "FILE",
        "the file of labels; without it the one beside (labels for images in its name), or none"},
       {"classes", "A,B,...", "names of the labels in the order of their numbers"},
       {"sample-shape", "H,W,C", "shape of a sample; without it H,W,1 for images"}},
      recognises,
      open};
}

}  // namespace lockstep
