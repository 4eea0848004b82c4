// Names of the shards of a set: NAME-00000-of-00002.h5, counted from 0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace lockstep {

struct ShardName {
  std::string set;  // NAME, with the directories before it
  std::int64_t number = 0;
  std::int64_t count = 0;

  std::string path() const;
};

// The parts of such a name, nullopt where it is none.
std::optional<ShardName> parse_shard_name(const std::string& path);

}  // namespace lockstep
