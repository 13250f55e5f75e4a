/** What of ONNX's protobuf schema (onnx.proto3) a model of ours needs. */
import protobuf from 'protobufjs';

const { root } = protobuf.parse(`
  syntax = "proto3";
  message OperatorSetId { string domain = 1; int64 version = 2; }
  message StringStringEntry { string key = 1; string value = 2; }
  message Tensor {
    repeated int64 dims = 1;
    int32 data_type = 2;
    string name = 8;
    bytes raw_data = 9;
    repeated StringStringEntry external_data = 13;
    int32 data_location = 14;
  }
  message Attribute {
    string name = 1;
    float f = 2;
    int64 i = 3;
    repeated int64 ints = 8;
    int32 type = 20;
  }
  message Node {
    repeated string input = 1;
    repeated string output = 2;
    string name = 3;
    string op_type = 4;
    repeated Attribute attribute = 5;
  }
  message Dimension { oneof value { int64 dim_value = 1; string dim_param = 2; } }
  message Shape { repeated Dimension dim = 1; }
  message TensorType { int32 elem_type = 1; Shape shape = 2; }
  message Type { TensorType tensor_type = 1; }
  message ValueInfo { string name = 1; Type type = 2; }
  message Graph {
    repeated Node node = 1;
    string name = 2;
    repeated Tensor initializer = 5;
    repeated ValueInfo input = 11;
    repeated ValueInfo output = 12;
  }
  message Model {
    int64 ir_version = 1;
    string producer_name = 2;
    Graph graph = 7;
    repeated OperatorSetId opset_import = 8;
  }`, { keepCase: true });

const Model = root.lookupType('Model');

/** Numbers of element types. */
export const ELEMENT = { F32: 1, I64: 7, BOOL: 9, F16: 10 };

/** @param {object} model as the schema has it @returns {Uint8Array} the file */
export function encodeModel(model) {
  const problem = Model.verify(model);
  if (problem) throw new TypeError(problem);
  return new Uint8Array(Model.encode(model).finish());
}
