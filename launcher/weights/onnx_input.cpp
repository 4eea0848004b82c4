#include "launcher/weights/onnx_input.h"

#include <algorithm>

#include "core/base/error.h"
#include "ops/onnx/normalization.h"

namespace lockstep {
namespace {

constexpr std::int64_t kZero = -1;  // in place of a source: the element is 0

// (batch, sample...)
Shape batch_of(const Shape& sample) {
  Shape out{1};
  for (const std::int64_t extent : sample.dims()) out = out.append(extent);
  return out;
}

std::string reshaped(OnnxBuilder& builder, const std::string& name, const std::string& x, const Shape& sample) {
  std::vector<std::int64_t> extents{0};  // as it is
  extents.insert(extents.end(), sample.dims().begin(), sample.dims().end());
  const std::string shape = builder.constant(name + "/shape", {static_cast<std::int64_t>(extents.size())}, extents);
  return builder.node(name, "Reshape", {x, shape});
}

// For each element of what the transform makes of a sample that is not trained on: which element of the sample it is, or
// kZero. Seen by trying it on elements that tell their place. Throws bad_input where it does more than move them.
std::vector<std::int64_t> sources_of(const Transform& transform, const Shape& sample) {
  constexpr std::int64_t kMostElements = 1 << 24;  // that an f32 can count
  const std::int64_t elements = sample.elements();
  const auto refuse = [&](const std::string& why) {
    bad_input("data.transform: ", transform.kind(), " cannot be written as ONNX: ", why);
  };
  if (elements >= kMostElements) refuse(text("samples have ", elements, " elements"));
  std::vector<float> places(static_cast<std::size_t>(elements)), others(places.size());
  for (std::size_t i = 0; i < places.size(); ++i) {
    places[i] = static_cast<float>(i + 1);
    others[i] = static_cast<float>((i * 7 + 3) % 1009 + 1);
  }
  const auto made = static_cast<std::size_t>(transform.output(sample).elements());
  std::vector<float> moved(made), check(made);
  transform.apply(sample, places.data(), moved.data(), nullptr);
  transform.apply(sample, others.data(), check.data(), nullptr);
  std::vector<std::int64_t> sources;
  for (std::size_t i = 0; i < made; ++i) {
    const auto source = static_cast<std::int64_t>(moved[i]) - 1;
    const bool is_place = source >= kZero && source < elements && static_cast<float>(source + 1) == moved[i];
    const float expected = !is_place || source == kZero ? 0 : others[static_cast<std::size_t>(source)];
    if (!is_place || check[i] != expected) refuse("it computes with the elements");
    sources.push_back(source);
  }
  return sources;
}

std::string moved(OnnxBuilder& builder, const std::string& input, std::string x, const Transform& transform, const Shape& from) {
  std::vector<std::int64_t> sources = sources_of(transform, from);
  const Shape to = transform.output(from);
  const std::int64_t elements = from.elements();
  bool is_same = from == to;
  for (std::size_t i = 0; i < sources.size(); ++i) is_same &= sources[i] == static_cast<std::int64_t>(i);
  if (is_same) return x;
  const std::string name = text(input, "/", transform.kind());
  x = reshaped(builder, name, x, {elements});
  if (std::ranges::find(sources, kZero) != sources.end()) {
    const std::string one_behind = builder.constant(name + "/pads", {4}, std::vector<std::int64_t>{0, 0, 0, 1});
    x = builder.node(name, "Pad", {x, one_behind});
    std::ranges::replace(sources, kZero, elements);
  }
  const std::string places = builder.constant(name + "/places", {static_cast<std::int64_t>(sources.size())}, sources);
  return reshaped(builder, name, builder.node(name, "Gather", {x, places}, {{"axis", std::int64_t{1}}}), to);
}

// The last axes of a sample that together have as many elements as there are features.
Shape features_of(const std::string& input, const Shape& sample, std::int64_t features) {
  if (features <= 1) return features == 0 ? Shape{} : Shape{1};
  for (int axis = sample.rank() - 1; axis >= 0; --axis) {
    if (sample.elements(axis, sample.rank()) == features) return sample.slice(axis, sample.rank());
  }
  bad_input("data.normalize: array \"", input, "\" cannot be written as ONNX: ", features,
            " features do not meet the axes of its samples ", sample);
}

// What the model reads of the input of that number, which the graph has already.
std::string prepared(OnnxBuilder& builder, const Windows& windows, const RunData& data, std::size_t index) {
  const DataRecord::Input& stored = data.record.inputs[index];
  const LoaderInput& loaded = data.inputs[index];
  const std::string& name = stored.array;
  Shape sample = windows.input_shape(stored.row);
  std::string x = name;
  if (loaded.sample_shape && *loaded.sample_shape != sample) {
    sample = *loaded.sample_shape;
    x = reshaped(builder, name, x, sample);
  }
  for (const ListedTransform& one : loaded.transforms) {
    if (one.transform->training_only()) continue;
    check_input(one.transform->stage() == Transform::Stage::kElements, "data.transform: ", one.transform->kind(),
                " cannot be written as ONNX");
    x = moved(builder, name, x, *one.transform, sample);
    sample = one.transform->output(sample);
  }
  switch (loaded.dtype) {
    case DType::kU8:  // the model normalises it
      return x;
    case DType::kI32:
      if (stored.dtype == DType::kI32 || stored.dtype == DType::kI64) return x;
      return builder.node(name, "Cast", {x}, {{"to", onnx_type(DType::kI32)}});
    default: {
      const Normalization& normalization = loaded.normalization;
      const Shape features = features_of(name, sample, static_cast<std::int64_t>(normalization.shift.size()));
      return onnx_normalized(builder, name, x, stored.dtype, features, normalization.shift, normalization.scale);
    }
  }
}

}  // namespace

std::vector<std::string> add_onnx_inputs(OnnxBuilder& builder, const Windows& windows, const RunData& data) {
  for (const DataRecord::Input& input : data.record.inputs) {
    builder.input(input.array, input.dtype, batch_of(windows.input_shape(input.row)));
  }
  std::vector<std::string> names;
  for (std::size_t i = 0; i < data.inputs.size(); ++i) names.push_back(prepared(builder, windows, data, i));
  return names;
}

}  // namespace lockstep
