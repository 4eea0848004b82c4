// TOML files as trees of settings.
//
// Every value carries its place ("train.toml:12"; "--set" for overrides), so whoever reads the tree
// can say where a wrong value stands. Errors of syntax are bad_input
// "file:line:column: what is wrong". Tables keep the order of the file.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/settings.h"

namespace lockstep {

// The settings of a file, changed by `overrides` in order.
//
// An override is "key=value". The key is dotted ("train.epochs"); a list of tables is followed by a
// number from 0 or by the `name` of one of its tables ("layer.2.units", "layer.fc1.units"). A
// missing key is added, for the reader to accept or refuse. The value is read as TOML ("5", "[8, 8,
// 1]", "true"), and where it is none, as a text ("adam").
std::shared_ptr<Settings> read_toml(const std::string& path,
                                    const std::vector<std::string>& overrides = {});

// The same for text in memory; `name` stands for the file in places and messages.
std::shared_ptr<Settings> parse_toml(std::string_view content, const std::string& name,
                                     const std::vector<std::string>& overrides = {});

}  // namespace lockstep
