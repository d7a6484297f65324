// SPDX-License-Identifier: Apache-2.0
// Reads every package record of a dpkg status file back from copykv and compares each byte.
//
//   verify_records /var/lib/dpkg/status [RANK]
//
// Each record is expected under the name of its package ("bash"), or name:architecture when several
// records have that name ("libc6:i386"), as tools/quickstart stores them. Attaches to rank 0, or to
// the rank given; it finds every key from there. Keeps 16 reads in flight.
// Exit: 0 all equal, 1 a record is missing or differs, 2 usage, 3 no daemon.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <copykv/client.hpp>

namespace {

struct Record {
  std::string key;
  std::string_view text;  // as it stands in the file, with its last newline
};

std::string_view field(std::string_view record, std::string_view name) {
  while (!record.empty()) {
    const std::string_view line = record.substr(0, record.find('\n'));
    if (line.starts_with(name)) return line.substr(name.size());
    record.remove_prefix(std::min(line.size() + 1, record.size()));
  }
  return {};
}

// Records are separated by an empty line, and the last line ends in a newline.
std::vector<Record> split_records(std::string_view file) {
  std::vector<Record> records;
  std::map<std::string_view, int> times_named;
  for (size_t at = 0; at < file.size();) {
    const size_t gap = file.find("\n\n", at);
    const std::string_view text = file.substr(at, gap == file.npos ? gap : gap + 1 - at);
    records.push_back({{}, text});
    ++times_named[field(text, "Package: ")];
    at = gap == file.npos ? file.size() : gap + 2;
  }
  for (Record& record : records) {
    const std::string_view name = field(record.text, "Package: ");
    record.key = name;
    if (times_named[name] > 1) {
      record.key += ':';
      record.key += field(record.text, "Architecture: ");
    }
  }
  return records;
}

// Compares one answer with the record that its tag names. Returns 1 for a difference.
size_t compare(const std::vector<Record>& records, const copykv::Completion& done) {
  const Record& record = records[done.tag];
  if (done.result.ok() && done.result.value == record.text) return 0;
  const std::string_view status = copykv::to_string(done.result.status);
  std::fprintf(stderr, "verify_records: %s differs (%.*s, %zu of %zu bytes)\n", record.key.c_str(),
               static_cast<int>(status.size()), status.data(), done.result.value.size(),
               record.text.size());
  return 1;
}

// Submits as long as there is room, then waits for what has finished. Counts differences.
size_t verify(copykv::Client& kv, const std::vector<Record>& records) {
  size_t differences = 0;
  std::array<copykv::Completion, 16> finished;
  for (size_t next = 0; next < records.size() || kv.in_flight() > 0;) {
    while (next < records.size()) {
      const copykv::Status status = kv.submit_get(records[next].key, next);
      if (status == copykv::Status::would_block) break;
      if (status != copykv::Status::ok) {
        differences += compare(records, {.tag = next, .result = {.status = status}});
      }
      ++next;
    }
    const size_t count = kv.wait(finished);
    for (size_t i = 0; i < count; ++i) differences += compare(records, finished[i]);
  }
  return differences;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fputs("usage: verify_records FILE [RANK]\n", stderr);
    return 2;
  }
  copykv::Options options;
  if (argc == 3) options.rank = static_cast<uint32_t>(std::strtoul(argv[2], nullptr, 10));
  std::ifstream stream(argv[1], std::ios::binary);
  const std::string file((std::istreambuf_iterator<char>(stream)), {});
  const std::vector<Record> records = split_records(file);
  if (records.empty()) {
    std::fprintf(stderr, "verify_records: %s holds no record\n", argv[1]);
    return 2;
  }
  auto attached = copykv::Client::attach(options);
  if (!attached.client) {
    std::fprintf(stderr, "verify_records: %s\n", attached.error.c_str());
    return 3;
  }
  size_t bytes = 0;
  for (const Record& record : records) bytes += record.text.size();
  const size_t differences = verify(*attached.client, records);
  std::printf("records %zu bytes %zu differences %zu\n", records.size(), bytes, differences);
  return differences == 0 ? 0 : 1;
}
