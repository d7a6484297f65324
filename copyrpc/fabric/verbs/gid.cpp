// SPDX-License-Identifier: Apache-2.0
#include "copyrpc/fabric/verbs/gid.hpp"

#include <fmt/format.h>

#include <cstring>

namespace copyrpc::verbs {
namespace {

using copykv::Failure;
using copykv::Outcome;

IpAddress bytes_of(const ibv_gid& gid) noexcept {
  IpAddress ip;
  std::memcpy(ip.data(), gid.raw, ip.size());
  return ip;
}

bool is_link_local(const ibv_gid& gid) noexcept {
  return gid.raw[0] == 0xfe && (gid.raw[1] & 0xc0) == 0x80;
}

bool is_ipv4(const ibv_gid& gid) noexcept {
  return gid.global.subnet_prefix == 0 && gid.raw[8] == 0 && gid.raw[9] == 0 &&
         gid.raw[10] == 0xff && gid.raw[11] == 0xff;
}

bool is_empty(const ibv_gid& gid) noexcept {
  return gid.global.subnet_prefix == 0 && gid.global.interface_id == 0;
}

const char* type_name(uint32_t type) noexcept {
  if (type == IBV_GID_TYPE_ROCE_V2) return "RoCE v2";
  return type == IBV_GID_TYPE_ROCE_V1 ? "RoCE v1" : "InfiniBand";
}

/// Higher is better; 0: unusable.
uint32_t merit(const ibv_gid_entry& entry, bool ethernet) noexcept {
  if (is_empty(entry.gid)) return 0;
  if (!ethernet) return 1;
  uint32_t points = entry.gid_type == IBV_GID_TYPE_ROCE_V2 ? 4 : 1;
  if (is_ipv4(entry.gid)) points += 2;
  if (!is_link_local(entry.gid)) points += 1;
  return points;
}

}  // namespace

Outcome<Gid> choose_gid(ibv_context* context, uint8_t port, const ibv_port_attr& link,
                        int32_t wanted) {
  const bool ethernet = link.link_layer == IBV_LINK_LAYER_ETHERNET;
  const auto entries = static_cast<uint32_t>(link.gid_tbl_len);
  ibv_gid_entry best{};
  uint32_t best_merit = 0;
  for (uint32_t index = 0; index < entries; ++index) {
    if (wanted >= 0 && index != static_cast<uint32_t>(wanted)) continue;
    ibv_gid_entry entry{};
    if (ibv_query_gid_ex(context, port, index, &entry, 0) != 0) continue;
    if (merit(entry, ethernet) <= best_merit) continue;
    best = entry;
    best_merit = merit(entry, ethernet);
  }
  const char* device = ibv_get_device_name(context->device);
  if (best_merit == 0 && wanted >= 0)
    return Failure{
        fmt::format("--gid-index {}: port {} of {} has no GID there; see `copykv doctor` "
                    "or show_gids",
                    wanted, port, device)};
  if (best_merit == 0)
    return Failure{fmt::format("port {} of {} has no GID; give its network interface an address",
                               port, device)};
  return Gid{best.gid_index, best.gid, type_name(best.gid_type)};
}

std::optional<IpAddress> ip_of_gid(const ibv_gid& gid) noexcept {
  if (is_link_local(gid) || is_empty(gid)) return std::nullopt;
  return bytes_of(gid);
}

std::string gid_text(const ibv_gid& gid) {
  return ip_text(bytes_of(gid));
}

}  // namespace copyrpc::verbs
