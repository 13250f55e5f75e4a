/*
 * Compiles a compute shader for the GPU that VK_ICD_FILENAMES and the driver's own variables name,
 * and prints what the driver says of it: a line a statistic, name, tab, number; then a line
 * "assembly", and the instructions. Nothing is run, so the GPU need not be there: see cost.js.
 *
 *   pipeline FILE.spv ENTRY [BINDING...]     bindings that are uniform buffers; others are storage
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

enum { BINDINGS = 16, MOST_WORDS = 1 << 20, MOST_FOUND = 64 };

static void check(VkResult result, const char *what) {
    if (result == VK_SUCCESS) return;
    fprintf(stderr, "%s: Vulkan says %d\n", what, (int)result);
    exit(1);
}

static VkPhysicalDevice first_device(VkInstance instance) {
    VkPhysicalDevice device;
    uint32_t count = 1;
    VkResult result = vkEnumeratePhysicalDevices(instance, &count, &device);
    if (!count) {
        fprintf(stderr, "the driver has no device\n");
        exit(1);
    }
    if (result != VK_INCOMPLETE) check(result, "devices");
    return device;
}

static VkDevice open_device(void) {
    static const char *const extensions[] = {VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME};
    const float priority = 1;
    VkInstance instance;
    VkDevice device;
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                     .apiVersion = VK_API_VERSION_1_3};
    VkInstanceCreateInfo about_instance = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                           .pApplicationInfo = &application};
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
        .pipelineExecutableInfo = VK_TRUE};
    /* What Dawn's SPIR-V asks for. */
    VkPhysicalDeviceVulkan12Features features = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .pNext = &properties,
        .vulkanMemoryModel = VK_TRUE,
        .vulkanMemoryModelDeviceScope = VK_TRUE};
    VkPhysicalDeviceVulkan13Features dots = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
        .pNext = &features,
        .shaderIntegerDotProduct = VK_TRUE};
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    VkDeviceCreateInfo about_device = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                       .pNext = &dots,
                                       .queueCreateInfoCount = 1,
                                       .pQueueCreateInfos = &queue,
                                       .enabledExtensionCount = 1,
                                       .ppEnabledExtensionNames = extensions};
    check(vkCreateInstance(&about_instance, NULL, &instance), "instance");
    check(vkCreateDevice(first_device(instance), &about_device, NULL, &device), "device");
    return device;
}

static VkPipelineLayout make_layout(VkDevice device, const int *is_uniform) {
    VkDescriptorSetLayoutBinding bindings[BINDINGS];
    VkDescriptorSetLayout set;
    VkPipelineLayout layout;
    VkDescriptorSetLayoutCreateInfo about_set = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
        .bindingCount = BINDINGS,
        .pBindings = bindings};
    VkPipelineLayoutCreateInfo about_layout = {.sType =
                                                   VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                               .setLayoutCount = 1,
                                               .pSetLayouts = &set};
    uint32_t i;
    for (i = 0; i < BINDINGS; i++) {
        bindings[i] = (VkDescriptorSetLayoutBinding){
            .binding = i,
            .descriptorType = is_uniform[i] ? VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER
                                            : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
            .descriptorCount = 1,
            .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    }
    check(vkCreateDescriptorSetLayout(device, &about_set, NULL, &set), "set layout");
    check(vkCreatePipelineLayout(device, &about_layout, NULL, &layout), "layout");
    return layout;
}

static VkShaderModule read_module(VkDevice device, const char *path) {
    static uint32_t words[MOST_WORDS];
    VkShaderModule module;
    VkShaderModuleCreateInfo about = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                      .pCode = words};
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    about.codeSize = 4 * fread(words, 4, MOST_WORDS, file);
    fclose(file);
    check(vkCreateShaderModule(device, &about, NULL, &module), path);
    return module;
}

static void print_statistics(VkDevice device, VkPipelineExecutableInfoKHR *info) {
    static VkPipelineExecutableStatisticKHR found[MOST_FOUND];
    uint32_t count = MOST_FOUND, i;
    PFN_vkGetPipelineExecutableStatisticsKHR read =
        (PFN_vkGetPipelineExecutableStatisticsKHR)vkGetDeviceProcAddr(
            device, "vkGetPipelineExecutableStatisticsKHR");
    for (i = 0; i < count; i++) {
        found[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
    }
    check(read(device, info, &count, found), "statistics");
    for (i = 0; i < count; i++) {
        printf("%s\t%llu\n", found[i].name, (unsigned long long)found[i].value.u64);
    }
}

static void print_assembly(VkDevice device, VkPipelineExecutableInfoKHR *info) {
    static VkPipelineExecutableInternalRepresentationKHR found[MOST_FOUND];
    uint32_t count = MOST_FOUND, i;
    PFN_vkGetPipelineExecutableInternalRepresentationsKHR read =
        (PFN_vkGetPipelineExecutableInternalRepresentationsKHR)vkGetDeviceProcAddr(
            device, "vkGetPipelineExecutableInternalRepresentationsKHR");
    for (i = 0; i < count; i++) {
        found[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
    }
    check(read(device, info, &count, found), "sizes of forms");
    for (i = 0; i < count; i++) {
        found[i].pData = calloc(found[i].dataSize + 1, 1);
        if (!found[i].pData) exit(1);
    }
    check(read(device, info, &count, found), "forms");
    for (i = 0; i < count; i++) {
        if (!strcmp(found[i].name, "Assembly")) printf("assembly\n%s", (char *)found[i].pData);
    }
}

int main(int argument_count, char **arguments) {
    int is_uniform[BINDINGS] = {0}, i;
    VkPipeline pipeline;
    VkDevice device;
    VkComputePipelineCreateInfo about = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR |
                 VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT}};
    VkPipelineExecutableInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR};
    if (argument_count < 3) {
        fprintf(stderr, "pipeline FILE.spv ENTRY [BINDING...]\n");
        return 2;
    }
    for (i = 3; i < argument_count; i++) {
        unsigned long binding = strtoul(arguments[i], NULL, 10);
        if (binding < BINDINGS) is_uniform[binding] = 1;
    }
    device = open_device();
    about.layout = make_layout(device, is_uniform);
    about.stage.module = read_module(device, arguments[1]);
    about.stage.pName = arguments[2];
    check(vkCreateComputePipelines(device, VK_NULL_HANDLE, 1, &about, NULL, &pipeline), "pipeline");
    info.pipeline = pipeline;
    print_statistics(device, &info);
    print_assembly(device, &info);
    return 0;
}
