#include "core/base/trace.h"

#include <cstdio>

namespace lockstep {

const char* name_of(Track track) {
  switch (track) {
    case Track::kPhase: return "phase";
    case Track::kCompute: return "compute";
    case Track::kCommunication: return "communication";
  }
  return "";
}

std::int32_t Trace::name(const std::string& text, const std::string& kernel) {
  const std::lock_guard lock(mutex_);
  const auto [it, is_new] = numbers_.emplace(Name(text, kernel), static_cast<std::int32_t>(names_.size()));
  if (is_new) names_.push_back(it->first);
  return it->second;
}

void Trace::record(std::int32_t name, Track track, std::int64_t begin, std::int64_t end) {
  const std::lock_guard lock(mutex_);
  if (spans_.size() == kMostSpans) {
    ++dropped_;
    return;
  }
  spans_.push_back({name, track, begin, end});
}

namespace {

// A text inside JSON's quotes.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) continue;
    out += c;
  }
  return out;
}

// {"ph":"M","name":"process_name","pid":2,"args":{"name":"rank 2 on host"}}
std::string title_event(const char* what, int process, int thread, const std::string& title) {
  char head[128];
  std::snprintf(head, sizeof head, "{\"ph\":\"M\",\"name\":\"%s\",\"pid\":%d,\"tid\":%d,\"args\":{\"name\":\"", what, process,
                thread);
  return head + escaped(title) + "\"}}";
}

}  // namespace

std::string Trace::to_events(int process, const std::string& title, std::int64_t shift) const {
  const std::lock_guard lock(mutex_);
  std::string out = title_event("process_name", process, 0, title);
  for (int track = 0; track < kTracks; ++track) {
    out += ",\n" + title_event("thread_name", process, track, name_of(static_cast<Track>(track)));
  }
  std::vector<std::string> names;
  for (const auto& [name, kernel] : names_) {
    names.push_back(escaped(name) + (kernel.empty() ? "\"" : "\",\"args\":{\"kernel\":\"" + escaped(kernel) + "\"}"));
  }
  for (const Span& span : spans_) {
    char rest[128];
    std::snprintf(rest, sizeof rest, ",\"pid\":%d,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f}", process,
                  static_cast<int>(span.track), static_cast<double>(span.begin + shift) * 1e-3,
                  static_cast<double>(span.end - span.begin) * 1e-3);
    out += ",\n{\"ph\":\"X\",\"name\":\"" + names[static_cast<std::size_t>(span.name)] + rest;
  }
  return out;
}

}  // namespace lockstep
