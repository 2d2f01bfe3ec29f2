// SPDX-License-Identifier: Apache-2.0
#include "app/cli/options.h"
#include "engine/engine.h"
#include "engine/model/fingerprint.h"
#include "engine/model/model.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"

#include <cstdio>
#include <memory>
#include <thread>
#include <tuple>

namespace kvilt::cli {

namespace {

std::string_view kindName(kv::GroupKind kind)
{
    switch (kind) {
    case kv::GroupKind::rows: return "rows";
    case kv::GroupKind::window: return "window";
    case kv::GroupKind::snapshot: return "snapshot";
    }
    return "rows";
}

nlohmann::json layoutJson(const kv::KvLayout &layout)
{
    nlohmann::json groups = nlohmann::json::array();
    for (std::size_t g = 0; g < layout.groups.size(); ++g) {
        const kv::LayerGroup &group = layout.groups[g];
        groups.push_back({{"group", g},
                          {"name", group.name},
                          {"kind", kindName(group.kind)},
                          {"layers", group.layers},
                          {"kv_heads", group.k.heads},
                          {"k_dim", group.k.dim},
                          {"v_dim", group.v.dim},
                          {"k_type", api::toString(group.k.type)},
                          {"v_type", api::toString(group.v.type)},
                          {"window", group.kind == kv::GroupKind::window ? nlohmann::json(group.window) : nullptr},
                          {"shares_with", group.sharesWith >= 0 ? nlohmann::json(group.sharesWith) : nullptr}});
    }
    return groups;
}

Result<nlohmann::json> describeModel(const ModelOptions &options)
{
    KVILT_TRY(const api::EngineSettings settings, options.resolve());
    KVILT_TRY(const LoadedModel loaded, loadModel(options.model));
    const model::ModelDescription &d = loaded.model->description();
    const kv::KvLayout layout =
        model::makeKvLayout(d, settings.kType, settings.vType, std::uint32_t(settings.blockSize));
    const int threads = int(std::max(1u, std::thread::hardware_concurrency()));
    KVILT_TRY(const model::Fingerprint print, model::computeFingerprint(loaded.model->file(), threads, nullptr));
    return nlohmann::json{{"name", loaded.model->name()},
                          {"architecture", d.architecture->name},
                          {"parameters", loaded.model->parameters()},
                          {"layers", d.layers},
                          {"context_length", d.contextLength},
                          {"vocab_size", d.vocabulary},
                          {"kv_layout", layoutJson(layout)},
                          {"kv_bytes_per_token", layout.bytesPerToken()},
                          {"tensor_types", loaded.model->tensorTypes()},
                          {"quantisation", loaded.model->quantisation()},
                          {"chat_template", loaded.chatTemplate != nullptr},
                          {"fingerprint", model::toHex(print)}};
}

std::string grouped(std::uint64_t number) // 1,234,567
{
    std::string digits = std::to_string(number);
    for (std::size_t i = digits.size(); i > 3; i -= 3)
        digits.insert(i - 3, ",");
    return digits;
}

std::string plain(const nlohmann::json &value)
{
    return value.is_string() ? value.get<std::string>() : value.is_number_unsigned() ? grouped(value.get<std::uint64_t>())
                                                                                     : value.dump();
}

// "rows, layers 0 1 2, 3 KV heads, K 64 f16, V 64 f16, window 512"
std::string plainGroup(const nlohmann::json &group)
{
    std::string text = group.at("kind").get<std::string>() + ", layers";
    for (const nlohmann::json &layer : group.at("layers"))
        text += " " + layer.dump();
    text += ", " + group.at("kv_heads").dump() + " KV heads";
    for (const auto &[side, dim, type] : {std::tuple("K", "k_dim", "k_type"), std::tuple("V", "v_dim", "v_type")})
        text += std::string(", ") + side + " " + group.at(dim).dump() + " " + group.at(type).get<std::string>();
    if (!group.at("window").is_null())
        text += ", window " + group.at("window").dump();
    if (!group.at("shares_with").is_null())
        text += ", shares with group " + group.at("shares_with").dump();
    return text;
}

void printPlain(const nlohmann::json &info)
{
    for (const char *key : {"name", "architecture", "parameters", "layers", "context_length", "vocab_size",
                            "kv_bytes_per_token", "quantisation", "chat_template", "fingerprint"}) {
        std::printf("%-20s %s\n", key, forTerminal(plain(info.at(key)), true).c_str());
    }
    for (const auto &[type, count] : info.at("tensor_types").items())
        std::printf("%-20s %s\n", ("tensors " + type).c_str(), plain(count).c_str());
    for (const nlohmann::json &group : info.at("kv_layout"))
        std::printf("%-20s %s\n", ("group " + group.at("group").dump()).c_str(), plainGroup(group).c_str());
}

} // namespace

void addInfo(Cli &cli)
{
    auto options = std::make_shared<ModelOptions>();
    Command command = cli.add("info", "What a model file holds", [&cli, options]() -> Result<void> {
        KVILT_TRY(const nlohmann::json info, describeModel(*options));
        if (cli.json)
            printJson(info);
        else
            printPlain(info);
        return {};
    });
    options->addTo(command);
}

} // namespace kvilt::cli
